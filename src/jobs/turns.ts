/** Lets so many go at a time, in the order in which they came. */
export function createTurns(count: number): { take(signal: AbortSignal): Promise<Disposable> } {
  let taken = 0;
  const line: (() => void)[] = [];
  const turn: Disposable = {
    [Symbol.dispose]() {
      const next = line.shift();
      if (next) next();
      else taken--;
    },
  };
  return {
    /** Resolves when it is one's turn, which is to be disposed of; rejects with the reason of the signal. */
    async take(signal) {
      signal.throwIfAborted();
      if (taken < count) taken++;
      else await inLine(signal);
      return turn;
    },
  };

  function inLine(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        line.splice(line.indexOf(go), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      line.push(go);
    });
  }
}
