import { Readable } from "node:stream";
import type { Interval } from "../analytics/buckets.js";
import { findMetric, type Metric, type MetricDimension } from "../analytics/catalog.js";
import { type MetricsPlan, planMetrics } from "../analytics/metrics-plan.js";
import { toMetricsQuery } from "../analytics/metrics-query.js";
import type { Db } from "../db/client.js";
import { findAccount, queriedAccount } from "../db/queries/accounts.js";
import { TOTAL } from "../db/queries/metrics-statement.js";
import { MAX_METRICS_ROWS, type MetricsRow, readMetrics, readSeries } from "../db/queries/read-metrics.js";
import { NotFound } from "../errors.js";
import type { ColumnType } from "../exports/columns.js";
import { csvHead, csvLine } from "../exports/csv.js";
import { prettyDocument } from "../exports/json.js";
import type { XlsxColumn } from "../exports/xlsx.js";
import type { ReportHead } from "./describe-report.js";
import type { ReportRequest } from "./run-requests.js";
import { type RowStream, workbookHead } from "./write-rows.js";

/** What a delivery summary says of every section, in this order. */
export const summaryMetrics = [
  "messages_attempted",
  "messages_sent",
  "messages_delivered",
  "messages_read",
  "messages_failed",
  "messages_pending",
  "messages_received",
  "delivery_rate",
  "success_rate",
  "failure_rate",
  "read_rate",
  "time_to_send_p50",
  "time_to_send_p95",
  "time_to_deliver_p50",
  "time_to_deliver_p95",
  "time_to_read_p50",
  "time_to_read_p95",
] as const;
export const failureMetrics = ["messages_failed", "failure_rate"] as const;

/** One table of the summary: a row per bucket, per value of a dimension, or one row of totals. */
export interface Section {
  name: string;
  /** The key column besides the metrics. */
  key: "bucket" | MetricDimension | undefined;
  metrics: readonly string[];
  rows: readonly MetricsRow[];
}

/** The numbers of a delivery summary: totals, by interval, by each dimension asked for, failures by class and code. */
export async function readSummary(db: Db, request: ReportRequest): Promise<Section[]> {
  const row = await findAccount(db, request.account_id);
  if (!row) throw new NotFound("account_not_found", "There is no such account.");
  const account = queriedAccount(row);
  const planOf = (metrics: readonly string[], groupBy: readonly MetricDimension[]) =>
    planMetrics(
      toMetricsQuery(
        {
          from: request.from,
          to: request.to,
          interval: groupBy.length > 0 ? "all" : request.interval,
          basis: request.basis,
          groups: "exclude",
          responders: "human",
          clock: "first",
          hours: "elapsed",
          time_zone: request.time_zone,
          metrics: [...metrics],
          group_by: [...groupBy],
          filters: request.filters,
        },
        account,
      ),
    );
  const ask = (metrics: readonly string[], groupBy: readonly MetricDimension[]) =>
    readMetrics(db, planOf(metrics, groupBy));
  const whole = await ask(summaryMetrics, []);
  const sections: Section[] = [
    { name: "totals", key: undefined, metrics: summaryMetrics, rows: whole.totals },
    { name: `by_${request.interval}`, key: "bucket", metrics: summaryMetrics, rows: whole.rows },
  ];
  for (const dimension of request.group_by) {
    const { totals } = await ask(summaryMetrics, [dimension]);
    sections.push({ name: `by_${dimension}`, key: dimension, metrics: summaryMetrics, rows: totals });
  }
  for (const dimension of ["error_class", "error_code"] as const) {
    const rows = await readFailures(db, planOf(failureMetrics, [dimension]), dimension);
    sections.push({ name: `failures_by_${dimension}`, key: dimension, metrics: failureMetrics, rows });
  }
  return sections;
}

/**
 * A failure's rate is its share of all attempts, not of the attempts that failed so: the part that it has in the
 * `failure_rate` of the totals.
 */
async function readFailures(db: Db, plan: MetricsPlan, dimension: MetricDimension): Promise<MetricsRow[]> {
  const { series } = await readSeries(db, plan, MAX_METRICS_ROWS);
  const groups = series.map(({ dimensions, buckets }) => {
    const group = buckets.get(TOTAL) ?? {};
    return { dimensions, group, ...plan.sides("failure_rate", group) };
  });
  const attempted = groups.reduce((sum, { whole }) => sum + whole, 0);
  return groups
    .filter(({ dimensions }) => dimensions[dimension] !== null)
    .map(({ dimensions, group, part }) => ({
      ...dimensions,
      ...plan.measure(group, 0),
      failure_rate: attempted === 0 ? null : part / attempted,
    }));
}

const longColumns = ["section", "bucket", "dimension", "value_of", "metric", "value"] as const;
const longTypes: readonly ColumnType[] = ["text", "text", "text", "text", "text", "number"];

type LongRow = Record<(typeof longColumns)[number], string | number | null>;

/** The sections as one long table: a row per section, key and metric. */
export function longRows(sections: readonly Section[]): LongRow[] {
  return sections.flatMap(({ name, key, metrics, rows }) =>
    rows.flatMap((row) =>
      metrics.map((metric) => ({
        section: name,
        bucket: key === "bucket" ? (row.bucket ?? null) : null,
        dimension: key === "bucket" || key === undefined ? null : key,
        value_of: key === "bucket" || key === undefined ? null : (row[key] ?? null),
        metric,
        value: row[metric] ?? null,
      })),
    ),
  );
}

/** Writes a summary as a file. It is small, so its rows are made in memory. */
export async function writeSummary(
  sections: readonly Section[],
  request: Pick<ReportRequest, "format" | "interval" | "csv" | "json">,
  head: ReportHead,
  createdAt: Date,
): Promise<RowStream> {
  const { format, csv, json } = request;
  if (format === "xlsx") return writeWorkbook(sections, request.interval, head, createdAt);
  if (format === "json" && json?.pretty) {
    const { bytes } = prettyDocument(
      { ...head, units: unitsOf(sections) },
      "sections",
      sections.map(sectionText),
    );
    return { bytes, rows: () => rowsOf(sections) };
  }
  const rows = longRows(sections);
  const lines = rows.map((row) =>
    format === "csv" ? csvLine(Object.values(row), longTypes, csv) : JSON.stringify(row),
  );
  const names = longColumns.map((name) => ({ name }));
  const text =
    format === "csv"
      ? csvHead(names, csv) + lines.join("")
      : format === "ndjson"
        ? lines.map((line) => `${line}\n`).join("")
        : `[\n${lines.join(",\n")}\n]\n`;
  return { bytes: Readable.from([Buffer.from(text)]), rows: () => rows.length };
}

const rowsOf = (tables: readonly { rows: readonly unknown[] }[]): number =>
  tables.reduce((sum, { rows }) => sum + rows.length, 0);

const unitOf = (metric: string): Metric["unit"] => findMetric(metric)!.unit;

const unitsOf = (sections: readonly Section[]) =>
  Object.fromEntries(sections.flatMap(({ metrics }) => metrics.map((metric) => [metric, unitOf(metric)])));

/** Nested: a row holds its key, if it has one, and its metrics. */
const sectionText = ({ name, key, metrics, rows }: Section): string =>
  JSON.stringify({
    section: name,
    rows: rows.map((row) =>
      Object.fromEntries([...(key ? [key] : []), ...metrics].map((field) => [field, row[field] ?? null])),
    ),
  });

const unitFormats: Record<Metric["unit"], string> = {
  messages: "#,##0",
  contacts: "#,##0",
  reactions: "#,##0",
  recipients: "#,##0",
  conversations: "#,##0",
  turns: "#,##0",
  per_conversation: "#,##0.0",
  ratio: "0.00%",
  seconds: '#,##0.000" s"',
  per_minute: '#,##0.00" /min"',
};
const bucketFormat = (interval: Interval) =>
  interval === "15m" || interval === "hour" ? "yyyy-mm-dd hh:mm" : "yyyy-mm-dd";

/** For people: the totals, then a sheet per section with a column per metric, then what the report is about. */
async function writeWorkbook(
  [totals, ...sections]: readonly Section[],
  interval: Interval,
  head: ReportHead,
  createdAt: Date,
): Promise<RowStream> {
  const { writeXlsx } = await import("../exports/xlsx.js");
  const whole = totals!.rows[0];
  const summary = {
    name: "Summary",
    columns: [
      { name: "metric", type: "text" as const },
      { name: "value", type: "number" as const },
      { name: "unit", type: "text" as const },
    ],
    rows: totals!.metrics.map((metric) => [metric, whole?.[metric] ?? null, unitOf(metric)]),
    formatOf: (row: readonly unknown[], column: number) =>
      column === 1 ? unitFormats[unitOf(row[0] as string)] : undefined,
  };
  const tables = sections.map(({ name, key, metrics, rows }) => ({
    name: name.replaceAll("_", " "),
    columns: [...(key ? [keyColumn(key, interval)] : []), ...metrics.map(metricColumn)],
    rows: rows.map((row) => [...(key ? [key] : []), ...metrics].map((field) => row[field] ?? null)),
  }));
  const about = {
    name: "about",
    columns: ["property", "value"].map((name) => ({ name, type: "text" as const })),
    rows: Object.entries(head),
  };
  const data = [summary, ...tables];
  const bytes = writeXlsx({ sheets: [...data, about], createdAt, ...workbookHead(head) });
  return { bytes, rows: () => rowsOf(data) };
}

const keyColumn = (key: "bucket" | MetricDimension, interval: Interval): XlsxColumn =>
  key === "bucket"
    ? { name: key, type: "timestamp", numberFormat: bucketFormat(interval) }
    : { name: key, type: "text" };

const metricColumn = (metric: string): XlsxColumn => ({
  name: metric,
  type: "number",
  numberFormat: unitFormats[unitOf(metric)],
});
