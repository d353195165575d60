/** The result of `work`, or a rejection after `timeoutMs`. The work itself goes on; its late failure is ignored. */
export async function withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  work.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The same, but an answer that lies in the socket while this process is busy still counts. The clock starts when this
 * turn of the event loop is over: only then does leave what was said in it.
 */
export function inTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    let isSettled = false;
    const fail = () => reject(new Error(`no answer within ${timeoutMs} ms`));
    setImmediate(() => {
      if (!isSettled) timer = setTimeout(() => setImmediate(fail), timeoutMs);
    });
    work.then(resolve, reject).finally(() => {
      isSettled = true;
      clearTimeout(timer);
    });
  });
}
