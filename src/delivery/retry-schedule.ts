const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Pauses between the attempts of a delivery, as Standard Webhooks proposes them: 3 days and 4 hours in all. */
export const retryPausesMs: readonly number[] = [
  5 * SECOND,
  1 * MINUTE,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
];

export const MAX_ATTEMPTS = retryPausesMs.length + 1;

/** What failed together must not come back together. */
const JITTER = 0.2;

/** Until the next attempt after so many of them; null when that was the last one. `random` in [0, 1). */
export function pauseAfter(attempts: number, random = Math.random()): number | null {
  const pause = retryPausesMs[attempts - 1];
  return pause === undefined ? null : Math.round(pause * (1 + JITTER * (2 * random - 1)));
}

/** No longer than the longest pause of our own. */
const LONGEST_RETRY_AFTER_MS = 24 * HOUR;

/** The field `Retry-After`, seconds or a date (RFC 9110); undefined for what is neither, or over. */
export function retryAfterMs(field: string | undefined, nowMs: number): number | undefined {
  if (field === undefined) return undefined;
  const waitMs = /^\d{1,10}$/.test(field) ? Number(field) * SECOND : Date.parse(field) - nowMs;
  return waitMs > 0 ? Math.min(waitMs, LONGEST_RETRY_AFTER_MS) : undefined;
}

const LONGEST_REST_MS = 5 * MINUTE;

/** How long something that has been failing for so long is left alone: half of it, so that asking costs ever less. */
export const restMs = (failingMs: number): number => Math.min(failingMs / 2, LONGEST_REST_MS);
