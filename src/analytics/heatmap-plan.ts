import { InvalidInput } from "../errors.js";
import { FIRST_MONDAY_MS, HOUR_MS, offsetSpans } from "./buckets.js";
import type { Metric } from "./catalog.js";
import { type MetricsPlan, planMetrics } from "./metrics-plan.js";
import type { MetricsQuery } from "./metrics-query.js";

/** The hours of a week, from Monday 00:00 on the local clock. */
export const HOURS_A_WEEK = 7 * 24;

export interface HeatmapPlan extends MetricsPlan {
  /** The hour of the week of each bucket, from 1 on. */
  cells: readonly number[];
  /** How much of the range lies in each hour of the week, in hours. */
  hours: readonly number[];
  /** How much of that has passed by then. */
  hoursUpTo(now: Date): readonly number[];
}

/** Their hours stay below the greatest number of buckets. */
const MAX_DAYS = 400;

/** Measures of a moment. */
const momentary: ReadonlySet<string> = new Set(["level", "drain", "age"]);

/** Whether hours of several weeks add up. */
export const isSumOfHours = ({ measure }: Pick<Metric, "measure">): boolean => !momentary.has(measure.kind);

/** Throws `InvalidInput` for a range that has too many hours. */
export function requireHeatmapRange({ from, to }: { from: Date; to: Date }): void {
  if (to.getTime() - from.getTime() > MAX_DAYS * 24 * HOUR_MS)
    throw InvalidInput.of([
      { path: "to", code: "range_too_long", message: `must be at most ${MAX_DAYS} days after from` },
    ]);
}

/** Compiles a query for the hours of the week, whatever its interval. */
export function planHeatmap(asked: MetricsQuery): HeatmapPlan {
  const plan = planMetrics({ ...asked, interval: "hour", groupBy: [] });
  const { query, bucketStarts } = plan;
  const [from, to] = [query.from.getTime(), query.to.getTime()];
  const cells = hoursOfWeek(bucketStarts, to, query.timeZone);
  const hoursUpTo = (end: number) => {
    const hours = new Array<number>(HOURS_A_WEEK).fill(0);
    for (const [index, start] of bucketStarts.entries()) {
      const upTo = Math.min(bucketStarts[index + 1] ?? to, to, end);
      hours[cells[index]! - 1]! += Math.max(0, upTo - Math.max(start, from)) / HOUR_MS;
    }
    return hours;
  };
  return { ...plan, cells, hours: hoursUpTo(to), hoursUpTo: (now) => hoursUpTo(now.getTime()) };
}

/** A bucket of an hour has one offset, that of its start: where the offset changes, another bucket begins. */
function hoursOfWeek(starts: readonly number[], to: number, timeZone: string): number[] {
  const spans = offsetSpans(starts[0]!, to, timeZone);
  let current = 0;
  return starts.map((start) => {
    while (spans[current]!.end <= start) current++;
    const local = start + spans[current]!.offset - FIRST_MONDAY_MS;
    return (Math.floor(local / HOUR_MS) % HOURS_A_WEEK) + 1;
  });
}
