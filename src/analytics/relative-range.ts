import { DateTime } from "luxon";
import { bucketStarts, type Interval, QUARTER_MS } from "./buckets.js";
import { type Pattern, previousFire } from "./fires.js";

export const relativeRanges = [
  "last_hour",
  "today_so_far",
  "yesterday",
  "last_7_days",
  "last_30_days",
  "this_week_so_far",
  "last_week",
  "this_month_so_far",
  "last_month",
  "last_quarter",
  "since_previous_fire",
] as const;
export type RelativeRange = (typeof relativeRanges)[number];

export interface Range {
  from: number;
  /** Exclusive. */
  to: number;
}

const DAY_MS = 24 * 3_600_000;
/** No calendar unit is longer, whatever the clock does in it. */
const LONGEST_MS = { hour: DAY_MS, day: 3 * DAY_MS, week: 10 * DAY_MS, month: 33 * DAY_MS } as const;

/**
 * The range that a fire at `at` is about, on quarters of an hour: `to` of what goes on until now is the quarter that has
 * begun. What has gone on "so far" at the very start of a day, week or month is the whole one before. Depends on
 * nothing but pattern and instant, so that what a preview shows is what fires; never empty.
 */
export function rangeOf(range: RelativeRange, at: number, pattern: Pattern): Range {
  const now = Math.floor(at / QUARTER_MS) * QUARTER_MS;
  /** From the start of the unit that is `count` units before the current one. */
  const complete = (unit: Unit, count: number): Range => {
    const starts = startsUntil(now, unit, count, pattern.timeZone);
    return { from: starts.at(-1 - count)!, to: starts.at(-1)! };
  };
  const soFar = (unit: Unit): Range => ({
    from: startsUntil(now - QUARTER_MS, unit, 0, pattern.timeZone).at(-1)!,
    to: now,
  });
  switch (range) {
    case "last_hour":
      return complete("hour", 1);
    case "today_so_far":
      return soFar("day");
    case "yesterday":
      return complete("day", 1);
    case "last_7_days":
      return complete("day", 7);
    case "last_30_days":
      return complete("day", 30);
    case "this_week_so_far":
      return soFar("week");
    case "last_week":
      return complete("week", 1);
    case "this_month_so_far":
      return soFar("month");
    case "last_month":
      return complete("month", 1);
    case "last_quarter": {
      const starts = startsUntil(now, "month", 5, pattern.timeZone);
      const quarters = starts.filter((start) => startsQuarter(start, pattern.timeZone));
      return { from: quarters.at(-2)!, to: quarters.at(-1)! };
    }
    case "since_previous_fire": {
      // Fires are a quarter of an hour apart, so the one before this lies in an earlier quarter.
      const previous = previousFire(pattern, now);
      return { from: Math.floor((previous?.at ?? now - DAY_MS) / QUARTER_MS) * QUARTER_MS, to: now };
    }
  }
}

type Unit = Extract<Interval, keyof typeof LONGEST_MS>;

/** The starts of the current unit and of at least `count` before it. */
const startsUntil = (now: number, unit: Unit, count: number, timeZone: string): number[] =>
  bucketStarts(now - count * LONGEST_MS[unit], now + QUARTER_MS, unit, timeZone);

const startsQuarter = (start: number, zone: string) => DateTime.fromMillis(start, { zone }).month % 3 === 1;
