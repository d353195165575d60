import { findMetric } from "../analytics/catalog.js";
import { planMetrics } from "../analytics/metrics-plan.js";
import { type MetricsFields, type QueriedAccount, toMetricsQuery } from "../analytics/metrics-query.js";
import type { Db } from "../db/client.js";
import type { Rows } from "../db/datasets/dataset.js";
import { type JsonColumn, rowsOfJson } from "../db/datasets/json-rows.js";
import { readMetrics } from "../db/queries/read-metrics.js";

/** Units that are counted in whole numbers. */
const COUNTS: ReadonlySet<string> = new Set([
  "messages",
  "contacts",
  "reactions",
  "recipients",
  "conversations",
  "turns",
]);

/**
 * The rows of `GET /analytics/metrics`; its totals when the interval is the whole range. Computed once and handed to the
 * database as values, so that every format writes them as it writes all rows. Throws as `readMetrics` does.
 */
export async function readMetricsRows(db: Db, fields: MetricsFields, account: QueriedAccount): Promise<Rows> {
  const query = toMetricsQuery(fields, account);
  const { rows, totals } = await readMetrics(db, planMetrics(query));
  const isWhole = query.interval === "all";
  const columns: JsonColumn[] = [
    ...(isWhole ? [] : [{ name: "bucket", type: "timestamp" } as const]),
    ...query.groupBy.map((name) => ({ name, type: "text" }) as const),
    ...query.metrics.map(
      (name) => ({ name, type: COUNTS.has(findMetric(name)!.unit) ? "integer" : "number" }) as const,
    ),
  ];
  return rowsOfJson(columns, isWhole ? totals : rows);
}
