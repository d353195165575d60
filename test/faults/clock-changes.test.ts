import { afterAll, beforeAll, expect, it } from "vitest";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { simulate } from "../support/simulated-year.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

/** Around each change of the clock in one of the zones; the whole year is in `test/full/faults/simulated-year.test.ts`. */
it.each([
  ["2028-03-10", "2028-03-13"],
  ["2028-03-25", "2028-04-03"],
  ["2028-09-29", "2028-10-02"],
  ["2028-10-28", "2028-11-06"],
])(
  "F23 from %s to %s two schedulers fire what the previews said, each slot once, and the ranges tile",
  async (from, to) => {
    const slots = await simulate(test, {
      from: new Date(from),
      to: new Date(to),
      crons: ["30 2 * * *", "45 1 L * *", "0 1-3 * * 0"],
      seed: 20_280_329,
    });
    expect(slots).toBeGreaterThan(20);
  },
);
