import { Redis } from "ioredis";
import type { Log } from "../../log.js";
import { inTime, withDeadline } from "../deadline.js";
import { writeTogether } from "../redis-writes.js";
import { describe, rememberMs } from "./bucket.js";
import type { Buckets } from "./memory-buckets.js";
import { TAKE_TOKEN } from "./take-token.js";

/** No request waits longer than this for its bucket. */
const ANSWER_MS = 100;

/** A start waits so long for Redis; after that it begins without. */
const CONNECT_MS = 1_000;

/** After Redis did not answer, requests do not even ask for so long. */
const PAUSE_MS = 1_000;

type TakeToken = (key: string, rate: number, burst: number, remember: number) => Promise<[number, string]>;

/** Buckets that all processes share. While Redis is away, `local` decides: a limiter must not refuse by its own fault. */
export function createRedisBuckets(options: {
  url: string;
  installationId: string;
  windowMs: number;
  local: Buckets;
  log: Log;
}): Buckets & { connect(): Promise<void>; close(): void } {
  const redis = new Redis(options.url, {
    connectionName: "rate limits",
    lazyConnect: true,
    enableReadyCheck: false,
    maxRetriesPerRequest: 1,
    retryStrategy: (times) => Math.min(100 * times, 2_000),
    scripts: { takeToken: { lua: TAKE_TOKEN, numberOfKeys: 1 } },
  });
  const takeToken = (redis as unknown as { takeToken: TakeToken }).takeToken.bind(redis);
  // What failed is said once a pause, below.
  redis.on("error", () => {});
  const together = writeTogether(redis);
  let pausedUntilMs = 0;
  return {
    async take(key, limit) {
      if (performance.now() < pausedUntilMs) return options.local.take(key, limit);
      const name = `rl:{${options.installationId}}:${key}`;
      const remember = rememberMs(limit, options.windowMs);
      try {
        together();
        const taken = takeToken(name, limit.perMinute, limit.burst, remember);
        const [allowed, level] = await inTime(taken, ANSWER_MS);
        return describe(allowed === 1, Number(level), limit);
      } catch (error) {
        if (performance.now() >= pausedUntilMs) {
          pausedUntilMs = performance.now() + PAUSE_MS;
          options.log.warn("rate limits are counted without Redis", { error });
        }
        return options.local.take(key, limit);
      }
    },
    connect: async () => {
      await withDeadline(redis.script("LOAD", TAKE_TOKEN), CONNECT_MS).catch(() => {});
    },
    close: () => redis.disconnect(),
  };
}
