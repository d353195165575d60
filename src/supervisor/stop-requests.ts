/** npm passes a Ctrl-C on to a process that the terminal has already told. */
const ECHO_MS = 500;

export interface StopRequests {
  /** Settles with the reason at the first request. */
  first: Promise<string>;
  /** Settles when somebody has lost patience. */
  second: Promise<void>;
  /** The reason of the first request, if there was one. */
  reason(): string | undefined;
  /** Asks for a stop from inside, as a signal would. */
  request(reason: string): void;
}

/** Listens for the signals that ask this process to stop. */
export function listenForStop(): StopRequests {
  let reason: string | undefined;
  let at = 0;
  let settleFirst: (reason: string) => void;
  let settleSecond: () => void;
  const first = new Promise<string>((resolve) => (settleFirst = resolve));
  const second = new Promise<void>((resolve) => (settleSecond = resolve));
  const request = (why: string) => {
    if (reason === undefined) {
      reason = why;
      at = Date.now();
      settleFirst(why);
    } else if (Date.now() - at > ECHO_MS) settleSecond();
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, request);
  return { first, second, reason: () => reason, request };
}
