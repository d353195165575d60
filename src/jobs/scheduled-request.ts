import { isTimeZone } from "../analytics/buckets.js";
import { parseCron } from "../analytics/cron.js";
import type { Pattern } from "../analytics/fires.js";
import { type Range, rangeOf } from "../analytics/relative-range.js";
import type { Schedule, ScheduleFields } from "../db/queries/schedules.js";
import { InvalidInput } from "../errors.js";

/** Throws where this process does not know the zone, though the one that took it did. */
export function patternOf({ cron, time_zone: timeZone }: Pick<Schedule, "cron" | "time_zone">): Pattern {
  if (!isTimeZone(timeZone)) throw new InvalidInput("unknown_time_zone", `Unknown time zone: ${timeZone}.`);
  return { cron: parseCron(cron), timeZone };
}

export interface DatedRange {
  from: Date;
  to: Date;
}

/** What a fire at `at` is about. */
export function slotRange({ range }: Pick<Schedule, "range">, pattern: Pattern, at: number): DatedRange {
  const { from, to }: Range = rangeOf(range, at, pattern);
  return { from: new Date(from), to: new Date(to) };
}

/**
 * The parameters of a run as `POST /analytics/reports` or `exports` takes them. Everything in them is absolute, so a run
 * that is built again gives the same file.
 */
export const requestOf = (
  accountId: string,
  { kind, request, time_zone }: Pick<ScheduleFields, "kind" | "request" | "time_zone">,
  { from, to }: DatedRange,
): Record<string, unknown> => ({
  // Where days count, they are those of the schedule, unless the request says otherwise.
  ...((kind === "report" || request.dataset === "metrics") && { time_zone }),
  ...request,
  account_id: accountId,
  from: from.toISOString(),
  to: to.toISOString(),
});
