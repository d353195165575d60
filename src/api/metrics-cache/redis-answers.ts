import { createHash } from "node:crypto";
import { Redis } from "ioredis";
import { type Log, seldomWarnings } from "../../log.js";
import { inTime } from "../deadline.js";
import { writeTogether } from "../redis-writes.js";

/** No request waits longer than this for Redis: computing an answer anew seldom takes much more. */
const ANSWER_MS = 50;

/** After Redis did not answer, requests do not even ask for so long. */
const PAUSE_MS = 1_000;

/** Larger answers stay in the processes: Redis holds the queues too, and serves one command at a time. */
const MAX_BYTES = 256 * 1024;

export interface SharedAnswers {
  /** Undefined when there is none, or when Redis does not say so in time. */
  get(key: string): Promise<{ bytes: Buffer; ttlMs: number } | undefined>;
  /** Nobody waits for it, and it may fail. */
  set(key: string, bytes: Buffer, ttlMs: number): void;
  /** Commands that failed or came too late. */
  failures(): number;
  close(): void;
}

/** Answers that all API processes of an installation share. Whatever is wrong with Redis counts as a miss. */
export function createRedisAnswers(options: {
  url: string;
  installationId: string;
  /** What of this build the shape of answers depends on. */
  build: string;
  log: Log;
}): SharedAnswers {
  const redis = new Redis(options.url, {
    connectionName: "metrics cache",
    lazyConnect: true,
    enableReadyCheck: false,
    maxRetriesPerRequest: 1,
    retryStrategy: (times) => Math.min(100 * times, 2_000),
  });
  // What failed is said below.
  redis.on("error", () => {});
  const together = writeTogether(redis);
  const warn = seldomWarnings();
  let pausedUntilMs = 0;
  let failures = 0;
  const failed = (error: unknown) => {
    failures++;
    pausedUntilMs = performance.now() + PAUSE_MS;
    warn(options.log, "metrics are answered without the shared cache", { error });
  };
  const isPaused = () => performance.now() < pausedUntilMs;
  const nameOf = (key: string) =>
    `mc:{${options.installationId}}:${options.build}:${createHash("sha256").update(key).digest("base64url")}`;
  return {
    async get(key) {
      if (isPaused()) return undefined;
      const name = nameOf(key);
      try {
        together();
        const both = Promise.all([redis.getBuffer(name), redis.pttl(name)]);
        const [bytes, ttlMs] = await inTime(both, ANSWER_MS);
        return bytes === null || ttlMs <= 0 ? undefined : { bytes, ttlMs };
      } catch (error) {
        failed(error);
        return undefined;
      }
    },
    set(key, bytes, ttlMs) {
      if (isPaused() || bytes.length > MAX_BYTES) return;
      redis.set(nameOf(key), bytes, "PX", ttlMs).catch(failed);
    },
    failures: () => failures,
    close: () => redis.disconnect(),
  };
}
