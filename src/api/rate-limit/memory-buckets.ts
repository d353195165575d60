import { type Bucket, type Limit, rememberMs, type Taken, takeToken } from "./bucket.js";

/** More callers than this at a time, and those that asked longest ago are forgotten. */
const MAX_BUCKETS = 100_000;

export interface Buckets {
  take(key: string, limit: Limit): Promise<Taken>;
}

/** Buckets of one process. `nowMs` must not go back: it need not be the time of day. */
export function createMemoryBuckets(options: { windowMs: number; nowMs: () => number }): Buckets {
  // In the order of their last use.
  const buckets = new Map<string, Bucket & { forgetAtMs: number }>();
  const forgetOld = (nowMs: number) => {
    for (const [key, { forgetAtMs }] of buckets) {
      if (forgetAtMs > nowMs && buckets.size < MAX_BUCKETS) return;
      buckets.delete(key);
    }
  };
  return {
    async take(key, limit) {
      const nowMs = Math.floor(options.nowMs());
      const [bucket, taken] = takeToken(buckets.get(key), limit, nowMs);
      buckets.delete(key);
      forgetOld(nowMs);
      buckets.set(key, { ...bucket, forgetAtMs: nowMs + rememberMs(limit, options.windowMs) });
      return taken;
    },
  };
}
