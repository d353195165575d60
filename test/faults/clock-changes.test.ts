import { DateTime } from "luxon";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { simulate } from "../support/simulated-year.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

/** The whole year, more patterns and other seeds: `test/full/faults/simulated-year.test.ts`. */
it.each([
  ["spring", "2028-02-25", "2028-04-05"],
  ["autumn", "2028-09-28", "2028-11-08"],
])(
  "F23 what two schedulers fire in %s is what the previews said, each slot once, ranges without gap or overlap",
  async (_name, from, to) => {
    const day = (date: string) => DateTime.fromISO(date, { zone: "UTC" }).toJSDate();
    const slots = await simulate(test, {
      from: day(from),
      to: day(to),
      crons: ["30 2 * * *", "45 1 L * *", "*/30 1-3 * * 0"],
      seed: 20_260_301,
    });
    expect(slots).toBeGreaterThan(20);
  },
);
