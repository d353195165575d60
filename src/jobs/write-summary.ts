import { Readable } from "node:stream";
import type { MetricDimension } from "../analytics/catalog.js";
import { planMetrics } from "../analytics/metrics-plan.js";
import { toMetricsQuery } from "../analytics/metrics-query.js";
import type { Db } from "../db/client.js";
import { type MetricsRow, readMetrics } from "../db/queries/read-metrics.js";
import type { ColumnType } from "../exports/columns.js";
import { csvHeader, csvLine } from "../exports/csv.js";
import type { ReportFormat, ReportRequest } from "./run-requests.js";
import type { RowStream } from "./write-messages.js";

/** What a delivery summary says of every section, in this order. */
const summaryMetrics = [
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
const failureMetrics = ["messages_failed", "failure_rate"] as const;

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
  const account = { accountId: request.account_id, timeZone: request.time_zone ?? "UTC" };
  const ask = async (
    metrics: readonly string[],
    groupBy: readonly MetricDimension[],
    filters = request.filters,
  ) =>
    readMetrics(
      db,
      planMetrics(
        toMetricsQuery(
          {
            from: request.from,
            to: request.to,
            interval: groupBy.length > 0 ? "all" : request.interval,
            basis: request.basis,
            time_zone: request.time_zone,
            metrics: [...metrics],
            group_by: [...groupBy],
            filters,
          },
          account,
        ),
      ),
    );
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
    const { totals } = await ask(failureMetrics, [dimension]);
    const failed = totals.filter((row) => row[dimension] !== null);
    const rows = failed.map((row) => ({
      ...row,
      failure_rate: shareOf(row.messages_failed, whole.totals[0]),
    }));
    sections.push({ name: `failures_by_${dimension}`, key: dimension, metrics: failureMetrics, rows });
  }
  return sections;
}

/** A failure's rate is its share of all attempts, not of the attempts that failed so. */
function shareOf(failed: unknown, totals: MetricsRow | undefined): number | null {
  const attempted = Number(totals?.messages_attempted ?? 0);
  return attempted === 0 ? null : Number(failed) / attempted;
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
  format: ReportFormat,
  createdAt: Date,
): Promise<RowStream> {
  if (format === "xlsx") return writeWorkbook(sections, createdAt);
  const rows = longRows(sections);
  return { bytes: Readable.from([Buffer.from(textOf(rows, format))]), rows: () => rows.length };
}

function textOf(rows: readonly LongRow[], format: Exclude<ReportFormat, "xlsx">): string {
  if (format === "csv")
    return (
      csvHeader(longColumns.map((name) => ({ name }))) +
      rows
        .map((row) =>
          csvLine(
            longColumns.map((name) => row[name]),
            longTypes,
          ),
        )
        .join("")
    );
  const lines = rows.map((row) => JSON.stringify(row));
  if (format === "ndjson") return lines.map((line) => `${line}\n`).join("");
  return lines.length === 0 ? "[]\n" : `[\n${lines.join(",\n")}\n]\n`;
}

/** For people: a sheet per section, a column per metric. */
async function writeWorkbook(sections: readonly Section[], createdAt: Date): Promise<RowStream> {
  const { writeXlsx } = await import("../exports/xlsx.js");
  let count = 0;
  const sheets = sections.map(({ name, key, metrics, rows }) => ({
    name: name.replaceAll("_", " "),
    columns: [
      ...(key ? [{ name: key, type: key === "bucket" ? ("timestamp" as const) : ("text" as const) }] : []),
      ...metrics.map((metric) => ({ name: metric, type: "number" as const })),
    ],
    rows: (async function* () {
      for (const row of rows) {
        count++;
        yield [...(key ? [row[key] ?? null] : []), ...metrics.map((metric) => row[metric] ?? null)];
      }
    })(),
  }));
  return { bytes: writeXlsx({ sheets, createdAt }), rows: () => count };
}
