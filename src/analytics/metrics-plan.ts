import { bucketStarts } from "./buckets.js";
import {
  columnsOf,
  countColumn,
  findMetric,
  type Latency,
  latencyColumn,
  type Measure,
  type Metric,
  presenceColumns,
} from "./catalog.js";
import type { MetricsQuery } from "./metrics-query.js";
import { binMaximumSeconds, binSeconds } from "./percentiles.js";

/** What to look up in the merged bins of one latency. */
export interface LatencyPlan {
  /** The sum column that names the latency and its basis. */
  column: string;
  percents: readonly number[];
}

/**
 * What has been added up for one group: sums by column; per latency, null where nothing was measured, `<column>_n` (how
 * many), `<column>_p<percent>` (the bin of that nearest rank) and `<column>_max` (the outermost bin).
 */
export type MetricsGroup = Readonly<Record<string, number | null | undefined>>;

/** A query in terms of rollup columns, and how metrics come out of what is read. */
export interface MetricsPlan {
  query: MetricsQuery;
  /** UTC, in ms, ascending; the first is not after `from`. */
  bucketStarts: readonly number[];
  /** Additive columns to sum. */
  columns: readonly string[];
  latencies: readonly LatencyPlan[];
  /** A group exists where one of these is above 0. */
  presence: readonly string[];
  /** The metrics of a group, in the order of the query. */
  measure(group: MetricsGroup): Record<string, number | null>;
}

/** Compiles a query. Throws what `bucketStarts` throws, and `RangeError` for a metric that does not exist. */
export function planMetrics(query: MetricsQuery): MetricsPlan {
  const { basis } = query;
  const metrics = query.metrics.map(existing);
  const percentsOf = new Map<Latency, Set<number>>();
  for (const { measure } of metrics) {
    if (measure.kind !== "latency") continue;
    const percents = percentsOf.get(measure.latency) ?? new Set();
    if (typeof measure.statistic === "object") percents.add(measure.statistic.percent);
    percentsOf.set(measure.latency, percents);
  }
  return {
    query,
    bucketStarts: bucketStarts(query.from.getTime(), query.to.getTime(), query.interval, query.timeZone),
    columns: [...new Set(metrics.flatMap((metric) => columnsOf(metric, basis)))],
    latencies: [...percentsOf].map(([latency, percents]) => ({
      column: latencyColumn(latency, basis),
      percents: [...percents],
    })),
    presence: presenceColumns(basis),
    measure: (group) =>
      Object.fromEntries(metrics.map(({ id, measure }) => [id, metricValue(measure, basis, group)])),
  };
}

function existing(id: string): Metric {
  const metric = findMetric(id);
  if (!metric) throw new RangeError(`There is no metric ${id}.`);
  return metric;
}

function metricValue(measure: Measure, basis: MetricsQuery["basis"], group: MetricsGroup): number | null {
  const count = (name: Parameters<typeof countColumn>[0]) => group[countColumn(name, basis)] ?? 0;
  switch (measure.kind) {
    case "counter":
      return count(measure.count);
    case "ratio": {
      const whole = measure.whole.reduce((sum, name) => sum + count(name), 0);
      return whole === 0 ? null : count(measure.part) / whole;
    }
    case "latency":
      return latencyOf(latencyColumn(measure.latency, basis), measure.statistic, group);
  }
}

function latencyOf(
  column: string,
  statistic: (Measure & { kind: "latency" })["statistic"],
  group: MetricsGroup,
): number | null {
  const n = group[`${column}_n`];
  if (!n) return null;
  if (statistic === "mean") return (group[column] ?? 0) / n / 1_000;
  if (statistic === "max") return binMaximumSeconds(group[`${column}_max`] ?? 0);
  return binSeconds(group[`${column}_p${statistic.percent}`] ?? 0);
}
