import type { Request, Response } from "express";
import type { RateClass } from "../../config.js";
import type { Context } from "../../context.js";
import { TooManyRequests } from "../../errors.js";
import type { Limit, Taken } from "./bucket.js";
import { clientAddress } from "./client-address.js";
import { createMemoryBuckets } from "./memory-buckets.js";
import { createRedisBuckets } from "./redis-buckets.js";

export interface Limiter {
  /** Connects to Redis where there is one, so that the first requests are counted there too. Never throws. */
  connect(): Promise<void>;
  /** Counts a request for a key, or for the client's address without one. Throws 429 when its bucket is empty. */
  count(request: Request, response: Response, rateClass: RateClass, keyId?: string): Promise<void>;
}

const limiters = new WeakMap<Context, Limiter>();

/** The one limiter of a process. */
export function limiterOf(context: Context): Limiter {
  let limiter = limiters.get(context);
  if (!limiter) {
    limiter = createLimiter(context);
    limiters.set(context, limiter);
  }
  return limiter;
}

function createLimiter(context: Context): Limiter {
  const { config, installation, log } = context;
  const { limits, windowMs } = config.rateLimits;
  const local = createMemoryBuckets({ windowMs, nowMs: () => performance.now() });
  const mine = {
    take: (key: string, limit: Limit) => local.take(key, shareOf(limit, config.http.processes)),
  };
  const { url } = config.redis;
  const shared = url
    ? createRedisBuckets({ url, installationId: installation.installationId, windowMs, local: mine, log })
    : undefined;
  context.beforeClose.push(async () => shared?.close());
  const buckets = shared ?? mine;
  return {
    connect: async () => shared?.connect(),
    async count(request, response, rateClass, keyId) {
      const limit = limits[rateClass];
      if (limit.perMinute === 0) return;
      const subject = keyId === undefined ? `address:${clientAddress(request.socket)}` : `key:${keyId}`;
      const taken = await buckets.take(`${rateClass}:${subject}`, limit);
      if (!response.headersSent) describeLimit(response, rateClass, limit, taken);
      if (!taken.allowed) throw refusal(rateClass, limit, taken);
    },
  };
}

/** Of the processes on one port each gets its part: together they never allow more than the limit. */
const shareOf = (limit: Limit, processes: number): Limit => ({
  perMinute: Math.max(1, Math.floor(limit.perMinute / processes)),
  burst: Math.max(1, Math.floor(limit.burst / processes)),
});

/** The fields of draft-ietf-httpapi-ratelimit-headers-11: within `t` seconds there are no more than `r` requests. */
function describeLimit(response: Response, rateClass: RateClass, limit: Limit, taken: Taken): void {
  const window = Math.ceil((limit.burst * 60) / limit.perMinute);
  response.setHeader("ratelimit-policy", `"${rateClass}";q=${limit.burst};w=${window}`);
  response.setHeader("ratelimit", `"${rateClass}";r=${taken.remaining};t=${Math.ceil(taken.nextMs / 1000)}`);
}

const refusal = (rateClass: RateClass, limit: Limit, { nextMs }: Taken) =>
  new TooManyRequests(
    "rate_limited",
    `The limit of ${limit.perMinute} requests a minute (${rateClass}) is used up; Retry-After says when to go on.`,
    { headers: { "retry-after": String(Math.ceil(nextMs / 1000)) } },
  );
