import fc from "fast-check";
import { expect, it } from "vitest";
import {
  MAX_ATTEMPTS,
  pauseAfter,
  restMs,
  retryAfterMs,
  retryPausesMs,
} from "../../src/delivery/retry-schedule.js";

it("pauses grow over three days, each with a jitter of a fifth, and end with the last attempt", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: retryPausesMs.length }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempts, random) => {
        const plain = retryPausesMs[attempts - 1]!;
        const pause = pauseAfter(attempts, random)!;
        expect(pause).toBeGreaterThanOrEqual(Math.floor(plain * 0.8));
        expect(pause).toBeLessThanOrEqual(Math.ceil(plain * 1.2));
      },
    ),
  );
  expect([...retryPausesMs].sort((a, b) => a - b)).toEqual(retryPausesMs);
  expect(retryPausesMs.reduce((sum, pause) => sum + pause, 0)).toBeGreaterThan(3 * 24 * 3_600_000);
  expect(pauseAfter(MAX_ATTEMPTS)).toBeNull();
});

it.each([
  ["120", 120_000],
  ["Wed, 21 Oct 2015 07:28:00 GMT", 60_000],
  ["999999999", 24 * 3_600_000],
  ["0", undefined],
  ["-5", undefined],
  ["soon", undefined],
  ["1e3", undefined],
  ["Wed, 21 Oct 2015 07:00:00 GMT", undefined],
  [undefined, undefined],
])("Retry-After: %s is %s ms", (field, ms) => {
  expect(retryAfterMs(field, Date.parse("2015-10-21T07:27:00Z"))).toBe(ms);
});

it("what has been failing is left alone for half as long, five minutes at most", () => {
  expect([0, 5_000, 3_600_000].map(restMs)).toEqual([0, 2_500, 300_000]);
});
