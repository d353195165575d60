/** A token bucket: it holds `burst` requests at most and gets `perMinute` of them a minute. */
export interface Limit {
  perMinute: number;
  burst: number;
}

/**
 * Levels are counted in sixty-thousandths of a request, so that a millisecond adds exactly `perMinute` of them: whole
 * numbers, in JavaScript and in Redis' Lua alike.
 */
export const UNITS_PER_REQUEST = 60_000;

export interface Bucket {
  level: number;
  atMs: number;
}

export interface Taken {
  allowed: boolean;
  /** Whole requests that are left. */
  remaining: number;
  /** Until one request more is there than now. */
  nextMs: number;
}

/** Takes one request out of a bucket; without one it is full. `take-token.ts` says the same in Lua. */
export function takeToken(bucket: Bucket | undefined, limit: Limit, nowMs: number): [Bucket, Taken] {
  const capacity = limit.burst * UNITS_PER_REQUEST;
  // A clock that was set back adds nothing.
  const elapsedMs = bucket ? Math.max(0, nowMs - bucket.atMs) : 0;
  const filled = bucket ? Math.min(capacity, bucket.level + elapsedMs * limit.perMinute) : capacity;
  const allowed = filled >= UNITS_PER_REQUEST;
  const level = allowed ? filled - UNITS_PER_REQUEST : filled;
  return [{ level, atMs: nowMs }, describe(allowed, level, limit)];
}

/** What an answer says of a bucket at this level. */
export function describe(allowed: boolean, level: number, limit: Limit): Taken {
  const missing = UNITS_PER_REQUEST - (level % UNITS_PER_REQUEST);
  return {
    allowed,
    remaining: Math.floor(level / UNITS_PER_REQUEST),
    nextMs: Math.ceil(missing / limit.perMinute),
  };
}

/** How long a bucket must be remembered: forgetting one that is not full yet would fill it. */
export const rememberMs = (limit: Limit, windowMs: number): number =>
  Math.max(windowMs, Math.ceil((limit.burst * UNITS_PER_REQUEST) / limit.perMinute));
