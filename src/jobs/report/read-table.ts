import { findMetric, type Metric, type MetricDimension } from "../../analytics/catalog.js";
import { type MetricsPlan, planMetrics } from "../../analytics/metrics-plan.js";
import type { PlannedTable } from "../../analytics/report-templates/plan-sections.js";
import { capitalized, dimensionWords } from "../../analytics/report-templates/words.js";
import type { Db } from "../../db/client.js";
import { TOTAL } from "../../db/queries/metrics-statement.js";
import { MAX_METRICS_ROWS, type MetricsRow, readMetrics, readSeries } from "../../db/queries/read-metrics.js";
import {
  described,
  type KeyColumn,
  type ReadOptions,
  type ReadReport,
  valueColumn,
} from "./section-table.js";

/** A row a bucket, a combination of dimension values, or both; or one of totals. */
export async function readTable(db: Db, planned: PlannedTable, options: ReadOptions): Promise<ReadReport> {
  const { section, groupBy, interval } = planned;
  const plan = firstBuckets(planned, options.firstRows);
  const read =
    section.ratios === "of_all"
      ? await readShares(db, plan, options)
      : await readMetrics(db, plan, options).then(({ rows, totals, as_of }) => ({
          rows: interval === undefined ? totals : rows,
          asOf: as_of,
        }));
  const known =
    section.unknown === "hide"
      ? read.rows.filter((row) => groupBy.every((name) => row[name] !== null))
      : read.rows;
  const ordered = section.order ? inOrder(known, section.order) : known;
  const rows = ordered.slice(0, section.limit);
  return {
    tables: [
      {
        ...described(planned),
        keys: [
          ...(interval ? [{ name: "bucket", title: "Time", type: "bucket" as const }] : []),
          ...groupBy.map(dimensionKey),
        ],
        values: section.metrics.map((id) => valueColumn(id, section.titles?.[id])),
        rows,
        rowsLeftOut: ordered.length - rows.length,
        leftOutBecause:
          section.limit === undefined
            ? undefined
            : `limit: the first ${section.limit} by ${section.order!.by}`,
        isCut: plan !== planned.plan,
        interval,
        charted: chartedOf(planned),
      },
    ],
    asOf: read.asOf,
  };
}

/** As far as the first rows go, where rows follow one another in time. */
function firstBuckets({ plan, interval }: PlannedTable, firstRows: number | undefined): MetricsPlan {
  const end = firstRows === undefined || interval === undefined ? undefined : plan.bucketStarts[firstRows];
  return end === undefined ? plan : planMetrics({ ...plan.query, to: new Date(end) });
}

const dimensionKey = (name: MetricDimension): KeyColumn => ({
  name,
  title: capitalized(dimensionWords[name]),
  type: "text",
});

const CHARTED = 4;

/** Those that the section names; else the first ones of the same unit as the first. */
function chartedOf({ section, groupBy, interval }: PlannedTable): string[] {
  if (section.chart === "none" || (interval === undefined) === (groupBy.length === 0)) return [];
  if (section.chart) return section.chart.metrics;
  if (groupBy.length > 0) return section.metrics.slice(0, 1);
  const { unit } = findMetric(section.metrics[0]!)!;
  return section.metrics.filter((id) => findMetric(id)!.unit === unit).slice(0, CHARTED);
}

/** A ratio of each row is the part that the row has in the ratio of all of them. */
async function readShares(
  db: Db,
  plan: MetricsPlan,
  { maxRows = MAX_METRICS_ROWS }: ReadOptions,
): Promise<{ rows: MetricsRow[]; asOf: string }> {
  const { series, asOf } = await readSeries(db, plan, maxRows);
  const groups = series.map(({ dimensions, buckets }) => ({ dimensions, group: buckets.get(TOTAL) ?? {} }));
  const ratios = plan.query.metrics.filter((id) => isRatio(findMetric(id)!));
  const shares = ratios.map((id) => {
    const sides = groups.map(({ group }) => plan.sides(id, group));
    const whole = sides.reduce((sum, side) => sum + side.whole, 0);
    return { id, of: (index: number) => (whole === 0 ? null : sides[index]!.part / whole) };
  });
  return {
    rows: groups.map(({ dimensions, group }, index) => ({
      ...dimensions,
      ...plan.measure(group, 0),
      ...Object.fromEntries(shares.map(({ id, of }) => [id, of(index)])),
    })),
    asOf: new Date(asOf).toISOString(),
  };
}

const isRatio = ({ measure }: Metric): boolean => measure.kind === "ratio";

/** Values that are not known come last; equal ones stay in the order of their dimensions. */
function inOrder(
  rows: readonly MetricsRow[],
  { by, direction }: { by: string; direction: "asc" | "desc" },
): MetricsRow[] {
  const sign = direction === "asc" ? 1 : -1;
  return [...rows].sort((one, other) => {
    const [a, b] = [one[by] as number | null, other[by] as number | null];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return sign * (a - b);
  });
}
