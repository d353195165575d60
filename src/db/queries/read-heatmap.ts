import type { HeatmapPlan } from "../../analytics/heatmap-plan.js";
import type { MetricsGroup } from "../../analytics/metrics-plan.js";
import type { Db } from "../client.js";
import { BEFORE, TOTAL } from "./metrics-statement.js";
import { MAX_METRICS_ROWS, readSeries } from "./read-metrics.js";

const HOUR_MS = 3_600_000;

export interface Heatmap {
  /** The first metric of the query for each hour of the week; as long as the plan's `hours`. */
  cells: (number | null)[];
  total: number | null;
  as_of: string;
  coverage: ReturnType<HeatmapPlan["coverage"]>;
  /** Whether a queued event is known of what was asked for. */
  has_queue: boolean;
}

/**
 * One metric by the hours of the week, from the statement of `readMetrics`: a cell adds up the rollups of all its hours,
 * so that its rates and percentiles are those of its messages. What lies after `now` has not passed yet. Throws `NotFound` (`account_not_found`).
 */
export async function readHeatmap(db: Db, plan: HeatmapPlan, now = new Date()): Promise<Heatmap> {
  const { series, asOf } = await readSeries(db, plan, MAX_METRICS_ROWS);
  const groups = series[0]?.buckets ?? new Map<number, MetricsGroup>();
  const queued = (groups.get(BEFORE)?.queued ?? 0) + (groups.get(TOTAL)?.queued ?? 0);
  const valueIn = (cell: number, hours: number) =>
    plan.measure({ ...groups.get(cell), upto_queued: queued }, hours * HOUR_MS)[plan.query.metrics[0]!] ??
    null;
  const passed = plan.hoursUpTo(now);
  return {
    cells: passed.map((hours, index) => valueIn(index + 1, hours)),
    total: valueIn(
      TOTAL,
      passed.reduce((sum, hours) => sum + hours, 0),
    ),
    as_of: new Date(asOf).toISOString(),
    coverage: plan.coverage(groups.get(TOTAL) ?? {}),
    has_queue: queued > 0,
  };
}
