import fc from "fast-check";
import { DateTime, IANAZone } from "luxon";
import { describe, expect, it, vi } from "vitest";
import {
  type OpenInterval,
  openHoursArrays,
  openIntervals,
  openMsBetween,
} from "../../src/analytics/business-hours.js";
import { type Calendar, calendarFields, type Slot, weekdays } from "../../src/analytics/calendar.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const calendarOf = (timeZone: string, more: Partial<Calendar> = {}): Calendar => ({
  time_zone: timeZone,
  weekly: {},
  holidays: [],
  open: [],
  ...more,
});
const daily = (slots: readonly Slot[]): Calendar["weekly"] =>
  Object.fromEntries(weekdays.map((day) => [day, slots]));

const openIn = (calendar: Calendar, from: string, to: string) =>
  openIntervals(calendar, Date.parse(from), Date.parse(to)).map(
    ({ startMs, endMs }) =>
      `${new Date(startMs).toISOString().slice(0, 16)}/${new Date(endMs).toISOString().slice(0, 16)}`,
  );

/** Every minute asks the wall clock; shares nothing with what is tested. */
function walkMinutes(calendar: Calendar, fromMs: number, toMs: number): OpenInterval[] {
  const found: OpenInterval[] = [];
  for (let minute = Math.floor(fromMs / MINUTE_MS) * MINUTE_MS; minute < toMs; minute += MINUTE_MS) {
    const local = DateTime.fromMillis(minute, { zone: calendar.time_zone });
    const date = local.toISODate()!;
    const slots =
      calendar.open.find((day) => day.date === date)?.slots ??
      (calendar.holidays.includes(date) ? [] : calendar.weekly[weekdays[local.weekday - 1]!]) ??
      [];
    const time = local.toFormat("HH:mm");
    if (!slots.some(([start, end]) => start <= time && time < end)) continue;
    const open = { startMs: Math.max(minute, fromMs), endMs: Math.min(minute + MINUTE_MS, toMs) };
    const last = found.at(-1);
    if (last?.endMs === open.startMs) last.endMs = open.endMs;
    else found.push(open);
  }
  return found;
}

/** The nights on which the zones change their clocks, by an hour or, on Lord Howe, by half of one. */
const changes: [zone: string, ...days: string[]][] = [
  ["Europe/Berlin", "2026-03-29", "2026-10-25"],
  ["America/New_York", "2026-03-08", "2026-11-01"],
  ["Australia/Lord_Howe", "2026-04-05", "2026-10-04"],
  ["America/Havana", "2025-03-09", "2025-11-02"],
  ["America/St_Johns", "2010-11-07", "2011-03-13"],
  ["Pacific/Apia", "2011-12-30"],
  ["Asia/Kolkata", "2026-03-29", "2026-10-25"],
];

const clock = (minutes: number) =>
  `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
const days: fc.Arbitrary<Slot[]> = fc
  .uniqueArray(
    fc.oneof(fc.nat(1440), fc.constantFrom(0, 60, 90, 105, 120, 150, 180, 1380, 1440), fc.nat(240)),
    { maxLength: 8 },
  )
  .map((times) => times.sort((a, b) => a - b))
  .map((times) =>
    Array.from({ length: Math.floor(times.length / 2) }, (_, index): Slot => {
      const [start, end] = [times[2 * index]!, times[2 * index + 1]!];
      return [clock(start), clock(end)];
    }),
  );
const cases = fc.constantFrom(...changes).chain(([zone, ...nights]) => {
  const date = fc
    .tuple(fc.constantFrom(...nights), fc.integer({ min: -2, max: 2 }))
    .map(([night, more]) => new Date(Date.parse(night) + more * 24 * HOUR_MS).toISOString().slice(0, 10));
  return fc.record({
    calendar: fc.record({
      time_zone: fc.constant(zone),
      weekly: fc.record(Object.fromEntries(weekdays.map((day) => [day, days])), { requiredKeys: [] }),
      holidays: fc.array(date, { maxLength: 1 }),
      open: fc.array(fc.record({ date, slots: days }), { maxLength: 1 }),
    }),
    from: fc
      .tuple(fc.constantFrom(...nights), fc.integer({ min: -60 * HOUR_MS, max: 24 * HOUR_MS }))
      .map(([night, more]) => Date.parse(night) + more),
    length: fc.integer({ min: 1, max: 72 * HOUR_MS }),
  });
});

describe("open intervals", () => {
  it("are those of a walk over every minute", { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(cases, ({ calendar, from, length }) => {
        expect(openIntervals(calendar, from, from + length)).toEqual(
          walkMinutes(calendar, from, from + length),
        );
      }),
      { numRuns: 150 },
    );
  });

  it("shrink by the skipped hour and grow by the repeated one", () => {
    const night = calendarOf("Europe/Berlin", { weekly: daily([["01:30", "03:30"]]) });
    expect(openIn(night, "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z")).toEqual([
      "2026-03-29T00:30/2026-03-29T01:30",
    ]);
    expect(openIn(night, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z")).toEqual([
      "2026-10-24T23:30/2026-10-25T02:30",
    ]);
    const skipped = calendarOf("Europe/Berlin", { weekly: daily([["02:00", "03:00"]]) });
    expect(openIn(skipped, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z")).toEqual([]);
    // The second half of the repeated hour comes twice, with the first half between.
    const half = calendarOf("America/New_York", { weekly: daily([["01:30", "02:00"]]) });
    expect(openIn(half, "2026-11-01T00:00:00Z", "2026-11-01T12:00:00Z")).toEqual([
      "2026-11-01T05:30/2026-11-01T06:00",
      "2026-11-01T06:30/2026-11-01T07:00",
    ]);
  });

  it.each([
    ["Europe/Berlin", "2026-03-29", 23],
    ["Europe/Berlin", "2026-10-25", 25],
    ["America/New_York", "2026-03-08", 23],
    ["America/New_York", "2026-11-01", 25],
    ["Australia/Lord_Howe", "2026-04-05", 24.5],
    ["Australia/Lord_Howe", "2026-10-04", 23.5],
    ["Asia/Kolkata", "2026-03-29", 24],
  ])("in %s, %s is open for %d hours if it is open all day", (zone, date, hours) => {
    const calendar = calendarOf(zone, { open: [{ date, slots: [["00:00", "24:00"]] }] });
    const noon = Date.parse(`${date}T12:00:00Z`);
    const [open, ...more] = openIntervals(calendar, noon - 48 * HOUR_MS, noon + 48 * HOUR_MS);
    expect(more).toEqual([]);
    expect((open!.endMs - open!.startMs) / HOUR_MS).toBe(hours);
    expect(DateTime.fromMillis(open!.startMs, { zone }).toFormat("yyyy-MM-dd HH:mm")).toBe(`${date} 00:00`);
  });

  it("follow holidays and special days instead of the weekday", () => {
    const calendar = calendarOf("Europe/Berlin", {
      weekly: daily([["09:00", "17:00"]]),
      holidays: ["2026-12-25"],
      open: [{ date: "2026-12-24", slots: [["10:00", "12:00"]] }],
    });
    expect(openIn(calendar, "2026-12-23T00:00:00Z", "2026-12-26T12:00:00Z")).toEqual([
      "2026-12-23T08:00/2026-12-23T16:00",
      "2026-12-24T09:00/2026-12-24T11:00",
      "2026-12-26T08:00/2026-12-26T12:00",
    ]);
  });

  it("join over midnight, and are none for who is always closed", () => {
    const night = calendarOf("Asia/Kolkata", {
      weekly: { monday: [["22:00", "24:00"]], tuesday: [["00:00", "06:00"]] },
    });
    const week = ["2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z"] as const;
    expect(openIn(night, ...week)).toEqual(["2026-06-01T16:30/2026-06-02T00:30"]);
    expect(openIn(calendarOf("Asia/Kolkata"), ...week)).toEqual([]);
    const always = calendarOf("Europe/Berlin", { weekly: daily([["00:00", "24:00"]]) });
    expect(openIn(always, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")).toHaveLength(1);
  });

  it("of a year are found without asking the zone for every day", () => {
    const calendar = calendarOf("Europe/Berlin", {
      weekly: daily([
        ["09:00", "12:30"],
        ["13:30", "17:30"],
      ]),
      holidays: Array.from({ length: 500 }, (_, index) =>
        new Date(Date.UTC(2026, 0, 1) + index * 24 * HOUR_MS).toISOString().slice(0, 10),
      ).filter((_, index) => index % 3 === 0),
    });
    using asked = vi.spyOn(IANAZone.prototype, "offset");
    openIntervals(calendar, Date.UTC(2026, 0, 1), Date.UTC(2027, 0, 1));
    expect(asked.mock.calls.length).toBeLessThan(365 / 3);
  });
});

describe("open time between two instants", () => {
  const office = openIntervals(
    calendarOf("Europe/Berlin", {
      weekly: Object.fromEntries(weekdays.slice(0, 5).map((day) => [day, [["09:00", "17:00"] as Slot]])),
    }),
    Date.parse("2026-06-01T00:00:00Z"),
    Date.parse("2026-07-01T00:00:00Z"),
  );
  const between = (a: string, b: string) => openMsBetween(office, Date.parse(a), Date.parse(b)) / HOUR_MS;

  it("starts with the next opening, and is none for an answer before it", () => {
    const friday = "2026-06-05T20:00:00+02:00";
    expect(between(friday, "2026-06-08T10:30:00+02:00")).toBe(1.5);
    expect(between(friday, "2026-06-06T11:00:00+02:00")).toBe(0);
    expect(between("2026-06-05T16:30:00+02:00", "2026-06-06T11:00:00+02:00")).toBe(0.5);
    expect(between("2026-06-05T10:00:00+02:00", "2026-06-05T10:15:00+02:00")).toBe(0.25);
    expect(between("2026-06-01T12:00:00+02:00", "2026-06-09T12:00:00+02:00")).toBe(6 * 8);
    expect(between("2026-06-05T10:15:00+02:00", "2026-06-05T10:00:00+02:00")).toBe(0);
  });

  it("adds up, and never exceeds the time itself", () => {
    const instants = fc.integer({
      min: Date.parse("2026-06-01T00:00:00Z"),
      max: Date.parse("2026-06-30T00:00:00Z"),
    });
    fc.assert(
      fc.property(instants, instants, instants, (...times) => {
        const [a, b, c] = times.sort((x, y) => x - y) as [number, number, number];
        const whole = openMsBetween(office, a, c);
        expect(openMsBetween(office, a, b) + openMsBetween(office, b, c)).toBe(whole);
        expect(whole).toBeLessThanOrEqual(c - a);
      }),
    );
  });

  it("is laid out as arrays of one length", () => {
    expect(
      openHoursArrays([
        { startMs: 0, endMs: 500 },
        { startMs: 1_000, endMs: 3_000 },
        { startMs: 4_000, endMs: 4_001 },
      ]),
    ).toEqual({
      starts: ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.000Z", "1970-01-01T00:00:04.000Z"],
      lengthsMs: [500, 2_000, 1],
      cumulativeMs: [0, 500, 2_500],
    });
  });
});

describe("a calendar", () => {
  const issues = (calendar: unknown) => {
    const parsed = calendarFields.safeParse(calendar);
    return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => [path.join("."), message]);
  };

  it("comes out in one form", () => {
    const open = ["2026-12-24", "2026-12-23"].map((date) => ({ date, slots: [["10:00", "24:00"]] }));
    expect(
      calendarFields.parse({
        weekly: { monday: [["00:00", "12:00"], ["12:00", "24:00"]], sunday: [] }, // biome-ignore format: one day
        holidays: ["2027-01-01", "2026-12-25", "2026-12-25"],
        open,
      }),
    ).toEqual({
      weekly: { monday: [["00:00", "12:00"], ["12:00", "24:00"]] }, // biome-ignore format: one day
      holidays: ["2026-12-25", "2027-01-01"],
      open: [open[1], open[0]],
    });
  });

  it.each<[string, unknown, string, RegExp]>([
    [
      "hours backwards",
      { weekly: { monday: [["17:00", "09:00"]] } },
      "weekly.monday.0",
      /end after it starts/,
    ],
    [
      "slots that overlap",
      { weekly: { friday: [["09:00", "12:00"], ["11:59", "13:00"]] } }, // biome-ignore format: one day
      "weekly.friday.1",
      /when the slot before it has ended/,
    ],
    [
      "slots out of order",
      { weekly: { friday: [["13:00", "14:00"], ["09:00", "12:00"]] } }, // biome-ignore format: one day
      "weekly.friday.1",
      /when the slot before it has ended/,
    ],
    ["seconds", { weekly: { monday: [["09:00:30", "10:00"]] } }, "weekly.monday.0.0", /00:00 to 23:59/],
    ["an end at 00:00", { weekly: { monday: [["09:00", "00:00"]] } }, "weekly.monday.0.1", /00:01 to 24:00/],
    ["a start at 24:00", { weekly: { monday: [["24:00", "24:00"]] } }, "weekly.monday.0.0", /00:00 to 23:59/],
    ["a slot of three", { weekly: { monday: [["09:00", "10:00", "11:00"]] } }, "weekly.monday.0", /pair of/],
    [
      "eleven slots",
      {
        weekly: { monday: Array.from({ length: 11 }, (_, hour) => [clock(hour * 60), clock(hour * 60 + 1)]) },
      },
      "weekly.monday",
      /at most 10 slots/,
    ],
    ["a date that does not exist", { weekly: {}, holidays: ["2026-02-29"] }, "holidays.0", /must be a date/],
    [
      "501 holidays",
      { weekly: {}, holidays: Array.from({ length: 501 }, () => "2026-12-25") },
      "holidays",
      /at most 500 days/,
    ],
    [
      "a day given twice",
      { weekly: {}, open: ["2026-12-24", "2026-12-24"].map((date) => ({ date, slots: [] })) },
      "open.1.date",
      /given twice/,
    ],
    [
      "a holiday that is open",
      { weekly: {}, holidays: ["2026-12-24"], open: [{ date: "2026-12-24", slots: [] }] },
      "open.0.date",
      /is a holiday too/,
    ],
    ["an unknown zone", { time_zone: "Mars/Olympus", weekly: {} }, "time_zone", /IANA/],
  ])("is refused with %s", (_, calendar, path, message) => {
    expect(issues(calendar)).toEqual([[path, expect.stringMatching(message)]]);
  });
});
