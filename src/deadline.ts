import { setMaxListeners } from "node:events";

export interface Deadline extends Disposable {
  /** Fires once: when time is up, or with the reason of the first of the others. */
  signal: AbortSignal;
  /** Whether it was time that ended it. */
  isLate(): boolean;
}

/**
 * A signal that surely fires after `timeoutMs` or with one of `others`; to be disposed of when the work is over, which leaves
 * neither a timer nor a listener. `AbortSignal.any` with `AbortSignal.timeout` promises less: in Node 20 the garbage
 * collector may take such a time-out away, and a signal that lives long remembers all that were ever derived from it.
 */
export function startDeadline(
  timeoutMs: number,
  others: readonly (AbortSignal | undefined)[],
  lateReason: () => Error = () => new Error(`not done within ${timeoutMs} ms`),
): Deadline {
  const controller = new AbortController();
  const signals = others.filter((signal) => signal !== undefined);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = !controller.signal.aborted;
    controller.abort(lateReason());
  }, timeoutMs);
  const follow = ({ target }: Event) => controller.abort((target as AbortSignal).reason);
  // As many as there is work at a time: no leak that Node should warn of.
  if (signals.length > 0) setMaxListeners(0, ...signals);
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    else signal.addEventListener("abort", follow, { once: true });
  }
  return {
    signal: controller.signal,
    isLate: () => isLate,
    [Symbol.dispose]() {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener("abort", follow);
    },
  };
}
