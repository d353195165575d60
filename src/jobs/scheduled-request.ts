import { parseCron } from "../analytics/cron.js";
import type { Pattern } from "../analytics/fires.js";
import { type Range, rangeOf } from "../analytics/relative-range.js";
import type { Schedule, ScheduleFields } from "../db/queries/schedules.js";

export const patternOf = ({ cron, time_zone }: Pick<Schedule, "cron" | "time_zone">): Pattern => ({
  cron: parseCron(cron),
  timeZone: time_zone,
});

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
  ...(kind === "report" && { time_zone }),
  ...request,
  account_id: accountId,
  from: from.toISOString(),
  to: to.toISOString(),
});
