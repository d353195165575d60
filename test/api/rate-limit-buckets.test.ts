import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bucket, type Limit, rememberMs, takeToken } from "../../src/api/rate-limit/bucket.js";
import { clientAddress } from "../../src/api/rate-limit/client-address.js";
import { createMemoryBuckets } from "../../src/api/rate-limit/memory-buckets.js";
import { TAKE_TOKEN } from "../../src/api/rate-limit/take-token.js";
import { hasRedis, startRedis, type TestRedis } from "../support/redis.js";

const limits = fc.record({
  perMinute: fc.integer({ min: 1, max: 100_000 }),
  burst: fc.integer({ min: 1, max: 500 }),
});
/** Milliseconds between calls: mostly bursts, now and then a rest. */
const gaps = fc.array(fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 90_000 })), {
  minLength: 1,
  maxLength: 300,
});

function history(limit: Limit, pauses: readonly number[]) {
  let bucket: Bucket | undefined;
  let atMs = 1_000_000;
  return pauses.map((pause) => {
    atMs += pause;
    const [next, taken] = takeToken(bucket, limit, atMs);
    bucket = next;
    return { atMs, ...taken };
  });
}

describe("a bucket", () => {
  it("never allows more than burst + rate × time in any window", () => {
    fc.assert(
      fc.property(limits, gaps, (limit, pauses) => {
        const allowed = history(limit, pauses).filter(({ allowed }) => allowed);
        for (let from = 0; from < allowed.length; from++)
          for (let to = from; to < allowed.length; to++) {
            const minutes = (allowed[to]!.atMs - allowed[from]!.atMs) / 60_000;
            expect(to - from + 1).toBeLessThanOrEqual(limit.burst + limit.perMinute * minutes + 1e-6);
          }
      }),
      { numRuns: 50 },
    );
  });

  it("allows a request after the wait that it names, and refuses it a millisecond before", () => {
    fc.assert(
      fc.property(limits, gaps, (limit, pauses) => {
        const empty: Bucket = { level: 0, atMs: 0 };
        const [refused, taken] = takeToken(empty, limit, Math.min(0, pauses[0]!));
        expect(taken.allowed).toBe(false);
        expect(takeToken(refused, limit, taken.nextMs)[1].allowed).toBe(true);
        expect(takeToken(refused, limit, taken.nextMs - 1)[1].allowed).toBe(false);
      }),
    );
  });

  it("gets nothing from a clock that was set back", () => {
    const limit = { perMinute: 60, burst: 1 };
    const [bucket] = takeToken(undefined, limit, 10_000);
    const [later, taken] = takeToken(bucket, limit, 5_000);
    expect(taken.allowed).toBe(false);
    expect(takeToken(later, limit, 6_000)[1].allowed).toBe(true);
  });

  it("is remembered until it is full, even where the window is shorter", async () => {
    const limit = { perMinute: 1, burst: 3 };
    let nowMs = 0;
    const buckets = createMemoryBuckets({ windowMs: 1_000, nowMs: () => nowMs });
    const take = async () => (await buckets.take("a", limit)).allowed;
    expect([await take(), await take(), await take(), await take()]).toEqual([true, true, true, false]);
    nowMs = 59_999;
    expect(await take()).toBe(false);
    nowMs = 60_000;
    expect([await take(), await take()]).toEqual([true, false]);
    expect(rememberMs(limit, 1_000)).toBe(180_000);
  });
});

describe("a client's address", () => {
  it.each([
    ["127.0.0.1", "127.0.0.1"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8::9", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    [undefined, "unknown"],
  ])("%s counts as %s", (remoteAddress, expected) => {
    expect(clientAddress({ remoteAddress } as { remoteAddress: string })).toBe(expected);
  });
});

describe.runIf(hasRedis)("the script in Redis", () => {
  let server: TestRedis;
  let redis: Redis;
  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis(server.url);
  });
  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });

  it("agrees with the bucket in memory on random histories, by its own clock", async () => {
    await fc.assert(
      fc.asyncProperty(limits, gaps, fc.uuid(), async (limit, pauses, key) => {
        let bucket: Bucket | undefined;
        for (const pause of pauses.slice(0, 40)) {
          // Time that passes is a bucket that is so much older.
          if (bucket) {
            bucket.atMs -= pause;
            await redis.hset(key, "at", String(bucket.atMs));
          }
          const [allowed, level, now] = (await redis.eval(
            TAKE_TOKEN,
            1,
            key,
            limit.perMinute,
            limit.burst,
            60_000,
          )) as [number, string, string];
          const [next, taken] = takeToken(bucket, limit, Number(now));
          expect({ allowed: allowed === 1, level: Number(level) }).toEqual({
            allowed: taken.allowed,
            level: next.level,
          });
          bucket = next;
        }
        expect(await redis.pttl(key)).toBeGreaterThan(0);
      }),
      { numRuns: 30 },
    );
  });
});
