import type { Interval } from "../analytics/buckets.js";
import type { MetricDimension } from "../analytics/catalog.js";
import { type ReportTemplate, rowsSection } from "../analytics/report-templates/definition.js";
import { planSections } from "../analytics/report-templates/plan-sections.js";
import type { Db } from "../db/client.js";
import { selectRows } from "../db/datasets/dataset.js";
import { messages } from "../db/datasets/messages.js";
import { readerOf } from "../db/held-snapshot.js";
import { findAccount, queriedAccount } from "../db/queries/accounts.js";
import { type PlannedRows, plannedRows, plannedValues, recentSpeed } from "../db/queries/estimate.js";
import { type Dimension, dimensions } from "../db/rollups/messages.js";
import { NotFound } from "../errors.js";
import type { Compression } from "../exports/compression.js";
import { type OpenedDataset, openDataset } from "./open-dataset.js";
import { findTemplate } from "./report/find-template.js";
import { selectList } from "./report/list-file.js";
import type { ExportFormat, ExportRequest, ReportRequest } from "./run-requests.js";

/** What a file will be about as large as. Nothing has been read for it but the planner's statistics. */
export interface Estimate {
  rows: number;
  bytes: number;
  /** As far as recent runs of the account tell. */
  seconds: number | null;
  basis: "planner";
}

/** An instant as text is so much longer than PostgreSQL's 8 bytes; about half of the instants of a message are set. */
const INSTANT_TEXT_BYTES = 16 / 2;
/** What stands around a cell, besides the name of its column in JSON. */
const CELL_BYTES: Readonly<Record<FileFormat, number>> = {
  csv: 1,
  json: 6,
  ndjson: 6,
  xlsx: 8,
  parquet: 0,
  html: 30,
};
/** A workbook is a ZIP, deflated at its fastest: cells repeat much. */
const SHEET_SHARE = 0.4;
/** What compression leaves of rows of messages; names of columns, which JSON repeats, cost next to nothing. */
const COMPRESSED_SHARE = { csv: 0.2, json: 0.12, ndjson: 0.12, xlsx: 1, parquet: 0.25, html: 0.2 } as const;
const METRICS_CELL_BYTES = 10;
/** Where none are named. */
const USUAL_METRICS = 20;
/** A line of numbers: section, bucket, dimension, value, metric and number. */
const NUMBER_LINE_BYTES = 70;
/** Agents, and who began: nothing is known of these before they are counted. */
const UNPLANNED_VALUES = 5;
/** Steps and ways of a flow. */
const FLOW_LINES = 200;
const HOURS_OF_WEEK = 7 * 24;

export async function estimateExport(db: Db, request: ExportRequest, signal: AbortSignal): Promise<Estimate> {
  const size =
    request.dataset === "metrics"
      ? await metricsSize(db, request)
      : rowsSize(request, await planned(db, await openDataset(db, readerOf(db), request, signal)));
  return {
    ...size,
    seconds: await secondsFor(db, request.account_id, "export", size.rows),
    basis: "planner",
  };
}

export async function estimateReport(db: Db, request: ReportRequest): Promise<Estimate> {
  const template = await findTemplate(db, request);
  const list = rowsSection(template);
  const size = list
    ? rowsSize(request, await planned(db, selectList(list, request)))
    : await numbersSize(db, request, template);
  return {
    ...size,
    seconds: await secondsFor(db, request.account_id, "report", size.rows),
    basis: "planner",
  };
}

type FileFormat = ExportFormat | ReportRequest["format"];
type Size = Pick<Estimate, "rows" | "bytes">;
type Planned = PlannedRows & Pick<OpenedDataset, "columns">;

const planned = async (db: Db, { rows, columns }: OpenedDataset): Promise<Planned> => ({
  ...(await plannedRows(db, rows, columns)),
  columns,
});

const messagesOf = ({ account_id, from, to }: Pick<ReportRequest, "account_id" | "from" | "to">) =>
  selectRows(messages, { accountId: account_id, from, to, filters: {} });

function rowsSize(request: ExportRequest | ReportRequest, { rows, width, columns }: Planned): Size {
  const { format } = request;
  const instants = columns.filter((column) => column.type === "timestamp").length;
  const names =
    format === "json" || format === "ndjson" ? columns.map(({ name }) => name).join("").length : 0;
  const row = width + instants * INSTANT_TEXT_BYTES + columns.length * CELL_BYTES[format] + names;
  return { rows, bytes: Math.round(rows * row * shareOf(request)) };
}

/** Rows of metrics are computed, so the planner is asked for what they are grouped by: as many at most as all of it allow. */
async function metricsSize(db: Db, request: ExportRequest & { dataset: "metrics" }): Promise<Size> {
  const rows = messagesOf(request);
  const values = await Promise.all(
    request.group_by.filter(isDimension).map((name) => plannedValues(db, rows, name)),
  );
  const count = values.reduce((product, n) => product * Math.max(1, n), intervalsOf(request));
  const cells = 1 + request.group_by.length + (request.metrics?.length ?? USUAL_METRICS);
  return { rows: count, bytes: Math.round(count * cells * METRICS_CELL_BYTES * shareOf(request)) };
}

const isDimension = (name: string): name is Dimension => (dimensions as readonly string[]).includes(name);

/** Only Parquet files are compressed when nobody asks for it. */
const shareOf = ({
  format,
  compression,
}: {
  format: FileFormat;
  compression?: Compression | undefined;
}): number => {
  const isPlain = compression === "none" || (compression === undefined && format !== "parquet");
  return (format === "xlsx" ? SHEET_SHARE : 1) * (isPlain ? 1 : COMPRESSED_SHARE[format]);
};

/** A report of numbers has a line for every metric of each interval and of each value of a dimension. */
async function numbersSize(db: Db, request: ReportRequest, template: ReportTemplate): Promise<Size> {
  const account = await findAccount(db, request.account_id);
  if (!account) throw new NotFound("account_not_found", "There is no such account.");
  const selected = messagesOf(request);
  const valuesOf = (name: MetricDimension) =>
    isDimension(name) ? plannedValues(db, selected, name) : Promise.resolve(UNPLANNED_VALUES);
  let rows = 0;
  for (const one of planSections(template, request, queriedAccount(account)).sections) {
    if (one.kind === "flow") rows += FLOW_LINES;
    else if (one.kind === "heatmap") rows += HOURS_OF_WEEK;
    else if (one.kind === "comparison") rows += 2 * one.section.metrics.length;
    else {
      const counts = await Promise.all(one.groupBy.map(valuesOf));
      const intervals = one.interval ? intervalsOf({ ...request, interval: one.interval }) : 1;
      const groups = counts.reduce((product, count) => product * Math.max(1, count), intervals);
      rows += Math.min(groups, one.section.limit ?? groups) * one.section.metrics.length;
    }
  }
  return { rows, bytes: Math.round(rows * NUMBER_LINE_BYTES * shareOf(request)) };
}

const MINUTE_MS = 60_000;
const INTERVAL_MS: Readonly<Record<Interval, number>> = {
  "15m": 15 * MINUTE_MS,
  hour: 60 * MINUTE_MS,
  day: 24 * 60 * MINUTE_MS,
  week: 7 * 24 * 60 * MINUTE_MS,
  month: 30 * 24 * 60 * MINUTE_MS,
  all: Number.POSITIVE_INFINITY,
};

const intervalsOf = ({ from, to, interval }: Pick<ReportRequest, "from" | "to" | "interval">): number =>
  Math.max(1, Math.ceil((to.getTime() - from.getTime()) / INTERVAL_MS[interval]));

async function secondsFor(
  db: Db,
  accountId: string,
  kind: "report" | "export",
  rows: number,
): Promise<number | null> {
  const speed = await recentSpeed(db, accountId, kind);
  return speed === undefined ? null : Math.ceil(rows / speed);
}
