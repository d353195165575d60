import type { HeatmapPlan } from "../../analytics/heatmap-plan.js";
import type { MetricsGroup } from "../../analytics/metrics-plan.js";
import type { Db } from "../client.js";
import { BEFORE, TOTAL } from "./metrics-statement.js";
import { MAX_METRICS_ROWS, readSeries } from "./read-metrics.js";

/** An hour of the week that the range does not hold has no pace. */
const HOUR_MS = 3_600_000;

export interface Heatmap {
  /** The first metric of the query for each hour of the week; as long as the plan's `hours`. */
  cells: (number | null)[];
  total: number | null;
  as_of: string;
}

/**
 * One metric by the hours of the week, from the statement of `readMetrics`: a cell adds up the rollups of all its hours,
 * so that its rates and percentiles are those of its messages. Throws `NotFound` (`account_not_found`).
 */
export async function readHeatmap(db: Db, plan: HeatmapPlan): Promise<Heatmap> {
  const { series, asOf } = await readSeries(db, plan, MAX_METRICS_ROWS);
  const groups = series[0]?.buckets ?? new Map<number, MetricsGroup>();
  const queued = (groups.get(BEFORE)?.queued ?? 0) + (groups.get(TOTAL)?.queued ?? 0);
  const valueIn = (cell: number, hours: number) =>
    plan.measure({ ...groups.get(cell), upto_queued: queued }, hours * HOUR_MS)[plan.query.metrics[0]!] ??
    null;
  return {
    cells: plan.hours.map((hours, index) => valueIn(index + 1, hours || 1)),
    total: valueIn(
      TOTAL,
      plan.hours.reduce((sum, hours) => sum + hours, 0),
    ),
    as_of: new Date(asOf).toISOString(),
  };
}
