import { setTimeout as delay } from "node:timers/promises";
import { type Context, queueStore } from "../context.js";
import { isSkewed, measureClockSkew, skewSeconds } from "../db/queries/clock.js";

/** Also the longest that a clock which was set wrong goes unnoticed. */
const CHECK_MS = 10_000;

export interface ClockWatch {
  /** Whether the clock was right when it was last compared. */
  isRight(): boolean;
  stop(): void;
}

export interface ClockWatchOptions {
  checkMs?: number;
  /** Called when it turns wrong, and when it is right again. */
  onChange?: (right: boolean) => void;
}

/**
 * Queues in Postgres take the deadlines of locks from the clock of whoever asks: a worker that is ahead would steal the
 * jobs of living workers, one that is behind would lose its own. Resolves once this process's clock agrees with the
 * database's, and goes on comparing them. With Redis the server's clock counts, and any clock is right.
 */
export async function watchClock(context: Context, options: ClockWatchOptions = {}): Promise<ClockWatch> {
  if (queueStore(context.config, context.databaseUrl).kind === "redis")
    return { isRight: () => true, stop: () => {} };
  const { checkMs = CHECK_MS, onChange = () => {} } = options;
  let right = await compare(context, false);
  while (!right) {
    await delay(checkMs);
    right = await compare(context, right);
  }
  const stopped = new AbortController();
  void keepComparing();
  return { isRight: () => right, stop: () => stopped.abort() };

  async function keepComparing() {
    for (;;) {
      await delay(checkMs, undefined, { signal: stopped.signal, ref: false }).catch(() => {});
      if (stopped.signal.aborted) return;
      const before = right;
      right = await compare(context, before);
      if (right !== before && !stopped.signal.aborted) onChange(right);
    }
  }
}

/** A database that does not answer says nothing about the clock: what was known before stays. */
async function compare({ db, log, now }: Context, before: boolean): Promise<boolean> {
  try {
    const skew = await measureClockSkew(db, now);
    if (!isSkewed(skew)) return true;
    log.error("the clock differs from the database's: no work is taken until it is right", {
      skewSeconds: skewSeconds(skew),
    });
    return false;
  } catch (error) {
    log.warn("the clock could not be compared with the database's", { error });
    return before;
  }
}
