import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseCron } from "../../src/analytics/cron.js";
import { firesBetween, nextFires } from "../../src/analytics/fires.js";
import { type RelativeRange, rangeOf, relativeRanges } from "../../src/analytics/relative-range.js";
import { casesOf } from "../support/cases.js";

const HOUR_MS = 3_600_000;
const at = (text: string) => Date.parse(text);
const written = ({ from, to }: { from: number; to: number }) =>
  [from, to].map((time) => new Date(time).toISOString().replace(":00.000Z", "Z"));

const range = (name: RelativeRange, fire: string, timeZone = "Europe/Berlin", cron = "0 8 * * *") =>
  written(rangeOf(name, at(fire), { cron: parseCron(cron), timeZone }));

describe("a relative range", () => {
  it.each<[RelativeRange, string, string]>([
    ["last_hour", "2026-05-13T05:00Z", "2026-05-13T06:00Z"],
    ["today_so_far", "2026-05-12T22:00Z", "2026-05-13T06:00Z"],
    ["yesterday", "2026-05-11T22:00Z", "2026-05-12T22:00Z"],
    ["last_7_days", "2026-05-05T22:00Z", "2026-05-12T22:00Z"],
    ["last_30_days", "2026-04-12T22:00Z", "2026-05-12T22:00Z"],
    ["this_week_so_far", "2026-05-10T22:00Z", "2026-05-13T06:00Z"],
    ["last_week", "2026-05-03T22:00Z", "2026-05-10T22:00Z"],
    ["this_month_so_far", "2026-04-30T22:00Z", "2026-05-13T06:00Z"],
    ["last_month", "2026-03-31T22:00Z", "2026-04-30T22:00Z"],
    ["last_quarter", "2025-12-31T23:00Z", "2026-03-31T22:00Z"],
    ["since_previous_fire", "2026-05-12T06:00Z", "2026-05-13T06:00Z"],
  ])("%s, on a Wednesday at 8:07", (name, from, to) => {
    expect(range(name, "2026-05-13T06:07:00Z")).toEqual([from, to]);
  });

  it("so far is all of what has just ended, where nothing has gone on yet", () => {
    expect(range("today_so_far", "2026-05-12T22:05:00Z")).toEqual(["2026-05-11T22:00Z", "2026-05-12T22:00Z"]);
    expect(range("this_month_so_far", "2026-04-30T22:00:00Z")).toEqual([
      "2026-03-31T22:00Z",
      "2026-04-30T22:00Z",
    ]);
  });

  it("F23 a day has 23, 25, 23.5 or 24.5 hours, and the month of February 29 days", () => {
    const hours = (name: RelativeRange, fire: string, zone: string) => {
      const { from, to } = rangeOf(name, at(fire), { cron: parseCron("0 8 * * *"), timeZone: zone });
      return (to - from) / HOUR_MS;
    };
    expect(hours("yesterday", "2026-03-30T06:00:00Z", "Europe/Berlin")).toBe(23);
    expect(hours("yesterday", "2026-10-26T06:00:00Z", "Europe/Berlin")).toBe(25);
    expect(hours("yesterday", "2026-10-04T22:00:00Z", "Australia/Lord_Howe")).toBe(23.5);
    expect(hours("yesterday", "2026-04-05T22:00:00Z", "Australia/Lord_Howe")).toBe(24.5);
    expect(hours("last_week", "2026-03-30T12:00:00Z", "Europe/Berlin")).toBe(7 * 24 - 1);
    expect(hours("last_month", "2028-03-01T12:00:00Z", "Asia/Kolkata")).toBe(29 * 24);
    expect(hours("last_hour", "2026-10-25T01:10:00Z", "Europe/Berlin")).toBe(1);
  });
});

const zones = [
  "Europe/Berlin",
  "America/New_York",
  "Australia/Lord_Howe",
  "Asia/Kolkata",
  "America/Santiago",
];
const year = { from: Date.UTC(2027, 11, 1), to: Date.UTC(2029, 0, 5) };

describe("F23 ranges of fires that follow each other", () => {
  it.each<[RelativeRange, string]>([
    ["yesterday", "30 2 * * *"],
    ["yesterday", "0 0 * * *"],
    ["last_week", "30 2 * * 1"],
    ["last_month", "5 0 1 * *"],
    ["last_quarter", "0 8 2 1,4,7,10 *"],
    ["last_hour", "5 * * * *"],
    ["since_previous_fire", "30 2 * * *"],
    ["since_previous_fire", "7,38 */6 * * *"],
    ["since_previous_fire", "0 2,14 L,15 * *"],
  ])("of %s at %s tile a leap year without gap or overlap", (name, cron) => {
    for (const timeZone of zones) {
      // One is enough of those with so many; where the clock moves by half an hour, there are no whole hours to report on.
      if (name === "last_hour" && timeZone !== "Europe/Berlin") continue;
      const pattern = { cron: parseCron(cron), timeZone };
      const ranges = firesBetween(pattern, year.from, year.to).map((fire) => rangeOf(name, fire.at, pattern));
      expect(ranges.length).toBeGreaterThan(3);
      for (const [index, next] of ranges.slice(1).entries()) expect(next.from).toBe(ranges[index]!.to);
    }
  });

  it("tile for any pattern since the fire before, lie on quarters of an hour and are never empty", () => {
    const instant = fc.integer({ min: year.from, max: year.to });
    const hours = fc.constantFrom("*", "*/2", "1-3", "0,2,23", "2");
    const cron = fc
      .tuple(fc.integer({ min: 0, max: 14 }), fc.constantFrom("", ",30", ",20,45"), hours)
      .map(([minute, more, hour]) => `${minute}${more} ${hour} * * *`);
    fc.assert(
      fc.property(cron, fc.constantFrom(...zones), instant, (text, timeZone, after) => {
        const pattern = { cron: parseCron(text), timeZone };
        const fires = nextFires(pattern, after, 8);
        for (const name of relativeRanges) {
          const ranges = fires.map((fire) => rangeOf(name, fire.at, pattern));
          for (const [index, { from, to }] of ranges.entries()) {
            expect(from).toBeLessThan(to);
            expect(to).toBeLessThanOrEqual(fires[index]!.at);
            expect([from % (HOUR_MS / 4), to % (HOUR_MS / 4)]).toEqual([0, 0]);
            const before = ranges[index - 1];
            if (name === "since_previous_fire" && before) expect(from).toBe(before.to);
          }
        }
      }),
      { numRuns: casesOf("RANGES", { few: 25, many: 1_000 }) },
    );
  });
});
