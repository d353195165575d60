import { DateTime } from "luxon";
import { type InputIssue, InvalidInput, Unavailable } from "../errors.js";
import { bucketStarts, type Interval, QUARTER_MS } from "./buckets.js";
import type { MetricsQuery } from "./metrics-query.js";
import { type KeptGrains, localDate } from "./segments.js";

export const contactPeriods = ["day", "week", "month"] as const;
export type ContactPeriod = (typeof contactPeriods)[number];

/** A query for different contacts in terms of local periods. Dates are local, their ends exclusive. */
export interface ContactsPlan {
  zoneId: number;
  /** The kind of period that buckets are; undefined for one bucket, which is the whole range. */
  period: ContactPeriod | undefined;
  /** The first days of the buckets, in their order. */
  starts: readonly string[];
  from: string;
  to: string;
  /** The whole months in the range; undefined without any. */
  months: { from: string; to: string } | undefined;
}

/**
 * Contacts are kept by whole days, weeks and months of the account's time zone, and do not add up: what is asked for
 * otherwise is refused. Throws `InvalidInput` (`interval_not_available`, `not_on_period`) and `Unavailable`
 * (`contacts_not_built`).
 */
export function planContacts(query: MetricsQuery, bucketsFrom: readonly number[]): ContactsPlan {
  const { zoneId, timeZone } = builtZone(query.kept);
  const period = periodOf(query.interval);
  const issues = [
    ...(period === undefined && query.interval !== "all" ? [intervalIssue(query.interval)] : []),
    ...(query.timeZone === timeZone ? [] : [zoneIssue(timeZone)]),
  ];
  if (issues.length > 0) throw InvalidInput.of(issues);
  requireWholePeriods(query, period ?? "day", timeZone);
  const from = periodDate(query.from.getTime(), period ?? "day", timeZone);
  const to = periodDate(query.to.getTime(), period ?? "day", timeZone);
  const starts = bucketsFrom.map((start) => periodDate(start, period ?? "day", timeZone));
  return { zoneId, period, starts, from, to, months: wholeMonths(from, to) };
}

/** The local days of a range, which has to be one of whole days. Throws as `planContacts` does. */
export function planContactDays(
  range: { from: Date; to: Date },
  { kept }: { kept: KeptGrains },
): { zoneId: number; from: string; to: string } {
  const { zoneId, timeZone } = builtZone(kept);
  requireWholePeriods(range, "day", timeZone);
  const [from, to] = [range.from, range.to].map((time) => periodDate(time.getTime(), "day", timeZone));
  return { zoneId, from: from!, to: to! };
}

/** The zone whose contacts are kept. */
export function builtZone({ days }: KeptGrains): { zoneId: number; timeZone: string } {
  if (days) return days;
  throw new Unavailable(
    "contacts_not_built",
    "The contacts of the account's time zone are still being added up. Ask again later.",
    { headers: { "retry-after": "60" } },
  );
}

const periodOf = (interval: Interval) => contactPeriods.find((period) => period === interval);

const intervalIssue = (interval: Interval): InputIssue => ({
  path: "interval",
  code: "interval_not_available",
  message: `contacts are not kept by ${interval}; ask for day, week, month or all`,
});

const zoneIssue = (timeZone: string): InputIssue => ({
  path: "time_zone",
  code: "interval_not_available",
  message: `contacts are kept by day, week and month of the account's time zone only, ${timeZone}`,
});

/** A contact of half a week is not known from the week's contacts. */
function requireWholePeriods(
  { from, to }: { from: Date; to: Date },
  period: ContactPeriod,
  timeZone: string,
): void {
  const issues = Object.entries({ from, to }).flatMap(([path, time]): InputIssue[] => {
    const [start, next] = bucketStarts(time.getTime(), time.getTime() + LONGEST_MS[period], period, timeZone);
    if (start === time.getTime()) return [];
    const near = [start!, next!].map((one) => new Date(one).toISOString()).join(" or ");
    return [
      {
        path,
        code: "not_on_period",
        message: `contacts are counted by whole ${period}s: must be where a ${period} begins in ${timeZone}, like ${near}`,
      },
    ];
  });
  if (issues.length > 0) throw InvalidInput.of(issues);
}

/** From any instant, the next period starts within it. */
const LONGEST_MS: Record<ContactPeriod, number> = {
  day: 200 * QUARTER_MS,
  week: 9 * 96 * QUARTER_MS,
  month: 33 * 96 * QUARTER_MS,
};

/** The date that names the period of an instant, its first one on the calendar: that date itself may have been skipped. */
export const periodDate = (instant: number, period: ContactPeriod, timeZone: string): string =>
  DateTime.fromISO(localDate(instant, timeZone), { zone: "utc" }).startOf(period).toISODate()!;

function wholeMonths(from: string, to: string): ContactsPlan["months"] {
  const start = DateTime.fromISO(from, { zone: "utc" });
  const first = (start.day === 1 ? start : start.startOf("month").plus({ months: 1 })).toISODate()!;
  const end = DateTime.fromISO(to, { zone: "utc" }).startOf("month").toISODate()!;
  return first < end ? { from: first, to: end } : undefined;
}
