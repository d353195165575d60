import { DateTime } from "luxon";
import { z } from "zod";
import { InvalidInput } from "../errors.js";
import { bucketStarts, QUARTER_MS } from "./buckets.js";
import { builtZone, type ContactPeriod, contactPeriods, periodDate } from "./contacts-plan.js";
import { metricsScalars, type QueriedAccount } from "./metrics-query.js";

/** Periods after the first one. */
const MAX_PERIODS = 60;
const DEFAULT_PERIODS = 12;

/** Times `MAX_PERIODS`, what one answer holds at most. */
const MAX_COHORTS = 1_000;

export const retentionFields = {
  from: metricsScalars.from,
  to: metricsScalars.to,
  period: z.enum(contactPeriods, { error: `must be one of ${contactPeriods.join(", ")}` }).default("week"),
  periods: z
    .string()
    .refine((text) => /^[1-9]\d?$/.test(text) && Number(text) <= MAX_PERIODS, {
      error: `must be a whole number from 1 to ${MAX_PERIODS}`,
    })
    .transform(Number)
    .default(DEFAULT_PERIODS),
};
const parsedFields = z.object(retentionFields);

/** Cohorts of contacts by the period in which they first wrote, and the periods after it to look at. */
export interface RetentionQuery {
  accountId: string;
  zoneId: number;
  timeZone: string;
  period: ContactPeriod;
  periods: number;
  cohorts: readonly { starts: Date; date: string }[];
  /** The date of the period that runs now. Later ones are not known. */
  current: string;
}

/** Throws `InvalidInput` for an empty range or one with too many cohorts, and `Unavailable` (`contacts_not_built`). */
export function toRetentionQuery(
  { from, to, period, periods }: z.output<typeof parsedFields>,
  { accountId, kept }: QueriedAccount,
  now: Date,
): RetentionQuery {
  if (from >= to)
    throw InvalidInput.of([{ path: "to", code: "empty_range", message: "must be later than from" }]);
  const { zoneId, timeZone } = builtZone(kept);
  // Who writes first in a period that has not begun is not known either. Periods begin on quarters of an hour.
  const begun = Math.min(to.getTime(), Math.floor(now.getTime() / QUARTER_MS + 1) * QUARTER_MS);
  const starts = begun > from.getTime() ? bucketStarts(from.getTime(), begun, period, timeZone) : [];
  const cohorts = starts
    .filter((start) => start >= from.getTime() && start < begun)
    .map((start) => ({ starts: new Date(start), date: periodDate(start, period, timeZone) }));
  if (cohorts.length > MAX_COHORTS)
    throw InvalidInput.of([
      {
        path: "to",
        code: "too_many_cohorts",
        message: `the range has ${cohorts.length} ${period}s, more than ${MAX_COHORTS.toLocaleString("en")}`,
      },
    ]);
  const current = periodDate(now.getTime(), period, timeZone);
  return { accountId, zoneId, timeZone, period, periods, cohorts, current };
}

export interface RetentionCohort {
  starts: string;
  contacts: number;
  /** Contacts of the cohort that wrote in the period of its start, the next one and so on; null: not begun yet. */
  active: (number | null)[];
  /** The same as a part of `contacts`; null too where there is nobody. */
  share: (number | null)[];
}

/** `countOf` gives how many contacts of a cohort wrote in a period, both by date. */
export function presentCohorts(
  query: RetentionQuery,
  countOf: (cohort: string, date: string) => number,
): RetentionCohort[] {
  return query.cohorts.map(({ starts, date }) => {
    const contacts = countOf(date, date);
    const first = DateTime.fromISO(date, { zone: "utc" });
    const active = Array.from({ length: query.periods + 1 }, (_, index) => {
      const later = first.plus({ [query.period]: index }).toISODate()!;
      return later > query.current ? null : countOf(date, later);
    });
    const share = active.map((count) => (count === null || contacts === 0 ? null : count / contacts));
    return { starts: starts.toISOString(), contacts, active, share };
  });
}
