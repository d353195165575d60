import type { Interrupted } from "./interrupted.js";

/** How often a worker says that it is alive, and so how soon it hears of a cancel. */
const HEARTBEAT_MS = 1_000;

export interface Heart {
  /** Fires with what a beat has found out. */
  signal: AbortSignal;
  /** Resolves when the last beat has ended. */
  stop(): Promise<void>;
}

/** Beats every second. `beat` says that somebody is alive, and tells when the work is not theirs any more; it never rejects. */
export function startHeart(beat: () => Promise<Interrupted | undefined>): Heart {
  const controller = new AbortController();
  let last: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    last = beat().then((interrupted) => {
      if (interrupted) controller.abort(interrupted);
    });
  }, HEARTBEAT_MS);
  return {
    signal: controller.signal,
    async stop() {
      clearInterval(timer);
      await last;
    },
  };
}
