import fc from "fast-check";
import { IANAZone } from "luxon";
import { describe, expect, it, vi } from "vitest";
import {
  bucketStarts,
  type Interval,
  MAX_BUCKETS,
  offsetSpans,
  QUARTER_MS,
} from "../../src/analytics/buckets.js";
import { bucketOfSlots } from "../support/oracle-buckets.js";

const zones = [
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "Australia/Lord_Howe",
  "Asia/Kolkata",
  "Asia/Kathmandu",
  "America/Havana",
  "Asia/Beirut",
  "America/Sao_Paulo",
  "Africa/Cairo",
  "Africa/Casablanca",
  "Pacific/Apia",
  "Pacific/Chatham",
];
const HOUR_MS = 3_600_000;
const iso = (starts: number[]) => starts.map((start) => new Date(start).toISOString());
const startsOf = (from: string, to: string, interval: Interval, zone: string) =>
  iso(bucketStarts(Date.parse(from), Date.parse(to), interval, zone));

/** Around the days on which some of the zones change their clocks or skip a day, and anywhere. */
const changes = [
  "2010-08-11",
  "2011-12-30",
  "2014-05-15",
  "2018-11-04",
  "2025-03-09",
  "2025-03-30",
  "2025-04-06",
  "2025-10-05",
  "2025-10-26",
  "2025-11-02",
].map((day) => Date.parse(day));
const starts = fc
  .oneof(
    fc.tuple(fc.constantFrom(...changes), fc.integer({ min: -400, max: 400 })),
    fc.tuple(fc.constant(Date.UTC(2009, 0, 1)), fc.nat(30 * 365 * 96)),
  )
  .map(([day, quarters]) => day + quarters * QUARTER_MS);

describe("bucket starts", () => {
  it("are those of a walk over every quarter of an hour", () => {
    const cases = fc.record({
      from: starts,
      quarters: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 400, max: 6_000 })),
      interval: fc.constantFrom<Interval>("15m", "hour", "day", "week", "month", "all"),
      zone: fc.constantFrom(...zones),
    });
    fc.assert(
      fc.property(cases, ({ from, quarters, interval, zone }) => {
        const to = from + quarters * QUARTER_MS;
        expect(iso(bucketStarts(from, to, interval, zone))).toEqual(
          bucketOfSlots(from, to, interval, zone).all,
        );
      }),
      { numRuns: 300 },
    );
  });

  it("follow changed clocks in every zone there is", () => {
    const from = Date.parse("2025-03-01T00:00:00Z");
    const to = Date.parse("2025-11-10T00:00:00Z");
    for (const zone of Intl.supportedValuesOf("timeZone").filter((_, index) => index % 40 === 0))
      expect([zone, ...iso(bucketStarts(from, to, "day", zone))]).toEqual([
        zone,
        ...bucketOfSlots(from, to, "day", zone).all,
      ]);
  }, 120_000);

  it("start a day at its first instant where midnight is skipped or comes twice", () => {
    expect(startsOf("2025-03-30T12:00:00Z", "2025-03-31T12:00:00Z", "day", "Asia/Beirut")).toEqual([
      "2025-03-29T22:00:00.000Z",
      "2025-03-30T21:00:00.000Z",
    ]);
    expect(startsOf("2025-11-02T12:00:00Z", "2025-11-02T13:00:00Z", "day", "America/Havana")).toEqual([
      "2025-11-02T04:00:00.000Z",
    ]);
    // St. John's used to set its clock back at 00:01: the day before shows up again, but it is over.
    expect(startsOf("2010-11-07T00:00:00Z", "2010-11-08T12:00:00Z", "day", "America/St_Johns")).toEqual([
      "2010-11-06T02:30:00.000Z",
      "2010-11-07T02:30:00.000Z",
      "2010-11-08T03:30:00.000Z",
    ]);
  });

  it("cover the range without gaps", () => {
    fc.assert(
      fc.property(
        starts,
        fc.constantFrom(...zones),
        fc.constantFrom<Interval>("hour", "day", "week"),
        (from, zone, interval) => {
          const to = from + 200 * HOUR_MS;
          const found = bucketStarts(from, to, interval, zone);
          expect(found[0]).toBeLessThanOrEqual(from);
          expect(found[1] ?? to).toBeGreaterThan(from);
          expect(found.at(-1)).toBeLessThan(to);
          expect(found).toEqual([...new Set(found)].sort((a, b) => a - b));
        },
      ),
    );
  });

  it("are at most 10,000, and made without asking the zone for each", () => {
    const from = Date.UTC(2020, 0, 1);
    const day = 24 * HOUR_MS;
    for (const [interval, length] of [
      ["15m", QUARTER_MS],
      ["hour", HOUR_MS],
      ["day", day],
    ] as const) {
      expect(bucketStarts(from, from + MAX_BUCKETS * length, interval, "UTC")).toHaveLength(MAX_BUCKETS);
      for (const more of [1, MAX_BUCKETS])
        expect(() => bucketStarts(from, from + (MAX_BUCKETS + more) * length, interval, "UTC")).toThrow(
          /10,000/,
        );
    }
    // Asking the zone takes longer than all the rest: it is asked once a week, and where the clock changes.
    using asked = vi.spyOn(IANAZone.prototype, "offset");
    bucketStarts(from, from + 9_999 * day, "day", "America/New_York");
    expect(asked.mock.calls.length).toBeLessThan(9_999 / 3);
  });

  it("need a zone that exists", () => {
    for (const zone of ["Mars/Olympus", "+05:30", ""])
      expect(() => bucketStarts(0, QUARTER_MS, "all", zone)).toThrow(`Unknown time zone: ${zone}`);
  });
});

describe("stretches of one UTC offset", () => {
  const SECOND_MS = 1_000;
  it.each([
    ["Europe/Berlin", "2026-03-29T01:00:00Z", 60, 120],
    ["Australia/Lord_Howe", "2026-04-04T15:00:00Z", 660, 630],
    ["America/New_York", "2026-11-01T06:00:00Z", -240, -300],
  ])("in %s end where they are asked to, also between two steps of the search", (zone, at, before, after) => {
    const change = Date.parse(at);
    const from = change - 10 * QUARTER_MS;
    const spansTo = (to: number) =>
      offsetSpans(from, to, zone).map(({ start, end, offset }) => [start, end, offset / 60_000]);
    for (let to = change + SECOND_MS; to < change + 2 * QUARTER_MS; to += 7 * SECOND_MS)
      expect(spansTo(to)).toEqual([
        [from, change, before],
        [change, to, after],
      ]);
    for (let to = change; to > change - 2 * QUARTER_MS; to -= 7 * SECOND_MS)
      expect(spansTo(to)).toEqual([[from, to, before]]);
  });
});
