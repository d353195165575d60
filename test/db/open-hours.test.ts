import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openHoursArrays, openIntervals, openMsBetween } from "../../src/analytics/business-hours.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const from = Date.parse("2026-03-16T00:00:00Z");
const to = Date.parse("2026-04-13T00:00:00Z");
const instants = fc.integer({ min: from, max: to });
const calendars = fc.constantFrom(
  {},
  {
    monday: [["09:00", "12:30"] as const, ["13:30", "24:00"] as const],
    tuesday: [["00:00", "06:00"] as const],
  },
  { saturday: [["10:00", "24:00"] as const], sunday: [["00:00", "02:30"] as const] },
);

/** The look-up as `openHoursArrays` describes it. */
const upTo = (t: string) => `
  (select case when i > 0
     then ($3::float8[])[i] + least(date_part('epoch', ${t} - ($1::timestamptz[])[i]) * 1000, ($2::float8[])[i])
     else 0 end
   from (select width_bucket(${t}, $1::timestamptz[])) as found(i))`;
const LOOK_UP = `
select greatest(0, ${upTo("b")} - ${upTo("a")}) as ms from unnest($4::timestamptz[], $5::timestamptz[]) as asked(a, b)`;

it("open hours are looked up in SQL as they are counted in code", async () => {
  await fc.assert(
    fc.asyncProperty(
      calendars,
      fc.array(fc.tuple(instants, instants), { minLength: 1, maxLength: 50 }),
      async (weekly, pairs) => {
        const calendar = { time_zone: "Europe/Berlin", weekly, holidays: ["2026-04-06"], open: [] };
        const intervals = openIntervals(calendar, from, to);
        const { starts, lengthsMs, cumulativeMs } = openHoursArrays(intervals);
        const times = [0, 1].map((side) => pairs.map((pair) => new Date(pair[side]!).toISOString()));
        const { rows } = await test.pool.query(LOOK_UP, [starts, lengthsMs, cumulativeMs, ...times]);
        expect(rows.map((row) => Math.round(row.ms))).toEqual(
          pairs.map(([a, b]) => openMsBetween(intervals, a, b)),
        );
      },
    ),
    { numRuns: 30 },
  );
});
