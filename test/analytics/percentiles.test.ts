import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BIN_GROWTH, binSeconds } from "../../src/analytics/percentiles.js";
import { BIN_GROWTH as FOLDED_GROWTH } from "../../src/db/rollups/family.js";

const YEARS_MS = 200 * 365 * 86_400_000;
/** As the fold does it. */
const binOf = (ms: number) => (ms <= 0 ? 0 : 1 + Math.floor(Math.log(ms) / Math.log(BIN_GROWTH)));

/** Evenly over the magnitudes, not over the numbers. */
const durations = fc.oneof(
  fc.nat(300),
  fc.double({ min: 0, max: Math.log(YEARS_MS), noNaN: true }).map((power) => Math.floor(Math.exp(power))),
);

describe("what a bin stands for", () => {
  it("has the growth of the bins that are stored", () => {
    expect(BIN_GROWTH).toBe(FOLDED_GROWTH);
  });

  it("is within 1 % of anything in it, and exact where it holds one value", () => {
    expect(binSeconds(0)).toBe(0);
    for (let ms = 1; ms <= 50; ms++) expect(binSeconds(binOf(ms))).toBe(ms / 1000);
    fc.assert(
      fc.property(durations, (ms) => {
        // Half a microsecond of rounding on top.
        expect(Math.abs(binSeconds(binOf(ms)) - ms / 1000)).toBeLessThanOrEqual((ms / 1000) * 0.01 + 5e-7);
      }),
      { numRuns: 5_000 },
    );
  });

  it("keeps the order, so a nearest rank among bins is one among values", () => {
    const ranks = fc.tuple(
      fc.array(durations, { minLength: 1, maxLength: 60 }),
      fc.constantFrom(50, 75, 90, 95, 99),
    );
    fc.assert(
      fc.property(ranks, ([ms, percent]) => {
        const rank = Math.ceil((percent * ms.length) / 100) - 1;
        const exact = ms.toSorted((a, b) => a - b)[rank]! / 1000;
        const estimate = binSeconds(ms.map(binOf).sort((a, b) => a - b)[rank]!);
        expect(Math.abs(estimate - exact)).toBeLessThanOrEqual(exact * 0.01);
      }),
      { numRuns: 1_000 },
    );
  });
});
