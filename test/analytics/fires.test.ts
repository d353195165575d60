import fc from "fast-check";
import { DateTime } from "luxon";
import { describe, expect, it } from "vitest";
import { parseCron } from "../../src/analytics/cron.js";
import { firesBetween, nextFires, previousFire } from "../../src/analytics/fires.js";
import { casesOf } from "../support/cases.js";
import { expressionOf, localClock, minuteByMinute, type PlainPattern } from "../support/oracle-fires.js";

const patternOf = (cron: string, timeZone: string) => ({ cron: parseCron(cron), timeZone });

/** What a preview shows: the local time, and what the clock's change does to it. */
function shown(cron: string, timeZone: string, after: string, count: number): string[] {
  return nextFires(patternOf(cron, timeZone), Date.parse(after) - 1, count).map(({ at, dst }) => {
    const local = DateTime.fromMillis(at, { zone: timeZone }).toISO({ suppressMilliseconds: true });
    return dst ? `${local} ${dst}` : `${local}`;
  });
}

const YEAR = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2027, 0, 1) };
const zones = [
  ...["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"],
  // Their clocks change at midnight: the day begins at one, or its first hour comes twice.
  ...["America/Santiago", "Africa/Cairo", "America/Havana"],
];
const clocks = new Map<string, (instant: number) => number>();
const clockOf = (zone: string) => {
  if (!clocks.has(zone)) clocks.set(zone, localClock(zone, YEAR.from, YEAR.to));
  return clocks.get(zone)!;
};

const some = <T>(values: readonly T[], max: number) =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: max });
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
/** Clocks change on few days of a year: most patterns have to match on all of them. */
const rarely = <T>(value: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });
const pattern: fc.Arbitrary<PlainPattern> = fc.record({
  // A quarter of an hour apart, as an expression that is taken has them.
  minutes: fc
    .tuple(some([0, 15, 30, 45], 4), fc.integer({ min: 0, max: 14 }))
    .map(([quarters, more]) => quarters.map((quarter) => quarter + more)),
  hours: fc.oneof(fc.constant("*" as const), some(numbers(0, 4), 5), some(numbers(0, 23), 6)),
  days: rarely(some([...numbers(1, 31), "L" as const], 8)),
  months: rarely(some(numbers(1, 12), 9)),
  weekdays: rarely(some(numbers(0, 6), 4)),
});

describe("fires", () => {
  it("are those of a clock that is looked at every minute of a year", () => {
    fc.assert(
      fc.property(pattern, fc.constantFrom(...zones), (plain, zone) => {
        // Both need a fire before the first to leave out what is too near.
        const from = YEAR.from + 3 * 24 * 3_600_000;
        const found = firesBetween(patternOf(expressionOf(plain), zone), from, YEAR.to - 1);
        const expected = minuteByMinute(plain, clockOf(zone), YEAR.from, YEAR.to - 1);
        expect(found.map((fire) => fire.at)).toEqual(expected.filter((at) => at >= from));
      }),
      { numRuns: casesOf("FIRES", { few: 30, many: 600 }) },
    );
  });

  it("are the same however they are asked for: one by one, together, or backwards", () => {
    fc.assert(
      fc.property(
        pattern,
        fc.constantFrom(...zones),
        fc.integer({ min: YEAR.from, max: YEAR.to }),
        (plain, zone, after) => {
          const asked = patternOf(expressionOf(plain), zone);
          if (nextFires(asked, after, 1).length === 0) return;
          const together = nextFires(asked, after, 12);
          let last = after;
          for (const fire of together) {
            expect(nextFires(asked, last, 1)).toEqual([fire]);
            if (last > after) expect(previousFire(asked, fire.at)?.at).toBe(last);
            last = fire.at;
          }
        },
      ),
      { numRuns: casesOf("FIRES", { few: 60, many: 600 }) },
    );
  });
});

describe("F23 a change of the clock", () => {
  it("a time that does not exist fires at the first instant after the gap", () => {
    expect(shown("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3)).toEqual([
      "2026-03-28T02:30:00+01:00",
      "2026-03-29T03:00:00+02:00 shifted",
      "2026-03-30T02:30:00+02:00",
    ]);
    expect(shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00:00Z", 2)).toEqual([
      "2026-10-04T02:30:00+11:00 shifted",
      "2026-10-05T02:15:00+11:00",
    ]);
    expect(shown("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2)).toEqual([
      "2026-04-24T01:00:00+03:00 shifted",
      "2026-04-25T00:00:00+03:00",
    ]);
  });

  it("times that fall into one gap are one fire, also with one that follows it at once", () => {
    expect(shown("0,30 2,3 * * *", "America/New_York", "2026-03-08T00:00:00-05:00", 3)).toEqual([
      "2026-03-08T03:00:00-04:00 shifted",
      "2026-03-08T03:30:00-04:00",
      "2026-03-09T02:00:00-04:00",
    ]);
    expect(shown("10 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", 2)).toEqual([
      "2026-03-29T03:00:00+02:00 shifted",
      "2026-03-30T02:10:00+02:00",
    ]);
  });

  it("a time that comes twice fires when it is first shown", () => {
    expect(shown("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00", 2)).toEqual([
      "2026-10-25T02:30:00+02:00 repeated",
      "2026-10-26T02:30:00+01:00",
    ]);
    expect(shown("*/30 1-3 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00", 6)).toEqual([
      "2026-10-25T01:00:00+02:00",
      "2026-10-25T01:30:00+02:00",
      "2026-10-25T02:00:00+02:00 repeated",
      "2026-10-25T02:30:00+02:00 repeated",
      "2026-10-25T03:00:00+01:00",
      "2026-10-25T03:30:00+01:00",
    ]);
    expect(shown("45 1 * * *", "Australia/Lord_Howe", "2026-04-05T00:00:00+11:00", 2)).toEqual([
      "2026-04-05T01:45:00+11:00 repeated",
      "2026-04-06T01:45:00+10:30",
    ]);
  });

  it("every hour is every hour that passes", () => {
    expect(shown("0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", 2)).toEqual([
      "2026-03-29T03:00:00+02:00",
      "2026-03-29T04:00:00+02:00",
    ]);
    expect(shown("0 * * * *", "Europe/Berlin", "2026-10-25T01:30:00+02:00", 3)).toEqual([
      "2026-10-25T02:00:00+02:00 repeated",
      "2026-10-25T02:00:00+01:00 repeated",
      "2026-10-25T03:00:00+01:00",
    ]);
    expect(shown("*/30 */1 * * *", "Australia/Lord_Howe", "2026-04-05T01:00:00+11:00", 4)).toEqual([
      "2026-04-05T01:00:00+11:00",
      "2026-04-05T01:30:00+11:00 repeated",
      "2026-04-05T01:30:00+10:30 repeated",
      "2026-04-05T02:00:00+10:30",
    ]);
  });

  it("named hours fire once a date, in every zone", () => {
    for (const zone of zones) {
      const fires = firesBetween(patternOf("30 2 * * *", zone), YEAR.from, YEAR.to);
      const dates = fires.map(({ at }) => DateTime.fromMillis(at, { zone }).toISODate());
      expect(new Set(dates).size).toBe(365);
      expect(dates).toHaveLength(365);
    }
  });

  it("leap days and ends of months are found, years ahead", () => {
    expect(shown("0 8 29 2 *", "Europe/Berlin", "2026-01-01T00:00:00Z", 3)).toEqual([
      "2028-02-29T08:00:00+01:00",
      "2032-02-29T08:00:00+01:00",
      "2036-02-29T08:00:00+01:00",
    ]);
    expect(shown("0 8 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1)).toEqual(["2104-02-29T08:00:00Z"]);
    expect(shown("0 23 L * *", "Asia/Kolkata", "2028-01-01T00:00:00Z", 4)).toEqual([
      "2028-01-31T23:00:00+05:30",
      "2028-02-29T23:00:00+05:30",
      "2028-03-31T23:00:00+05:30",
      "2028-04-30T23:00:00+05:30",
    ]);
    expect(shown("0 8 31 * *", "UTC", "2026-01-01T00:00:00Z", 3)).toEqual([
      "2026-01-31T08:00:00Z",
      "2026-03-31T08:00:00Z",
      "2026-05-31T08:00:00Z",
    ]);
  });
});
