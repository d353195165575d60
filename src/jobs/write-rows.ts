import type { Readable } from "node:stream";
import type { CopySource } from "../db/copy.js";
import type { Rows } from "../db/datasets/dataset.js";
import { binaryCopySql } from "../exports/binary-copy.js";
import type { Column } from "../exports/columns.js";
import { type Compression, compressed } from "../exports/compression.js";
import type { CsvOptions } from "../exports/csv.js";
import { prettyRows } from "../exports/json.js";
import { parquetStream } from "../exports/parquet/parquet.js";
import { textFile } from "../exports/text-file.js";
import { sheetWorkbook } from "../exports/xlsx-workbook.js";
import type { ReportHead } from "./report/describe-report.js";

export type RowFormat = "csv" | "json" | "ndjson" | "xlsx" | "parquet";

/** A file in the making: its bytes, and how many rows have gone by. Destroy the stream to stop the database too. */
export interface RowStream {
  bytes: Readable;
  rows(): number;
}

export interface RowRequest {
  rows: Rows;
  /** Of those of the rows, in the order of the file. */
  columns: readonly Column[];
  /** Of a sheet, and of the array in a pretty document. */
  name: string;
  format: RowFormat;
  createdAt: Date;
  csv?: CsvOptions | undefined;
  /** Of the bytes, or of the pages inside of a Parquet file. */
  compression?: Compression | undefined;
  /** JSON for people: indented, and inside a document that begins with `head`. */
  pretty?: boolean | undefined;
  /** What a workbook and a pretty document say of themselves. */
  head?: ReportHead;
  /** A last line of NDJSON that is no row. */
  trailer?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Streams rows as a file, in constant memory. They come in the order of an index, so the same rows give the same bytes.
 */
export async function streamRows(
  copy: Pick<CopySource, "stream">,
  request: RowRequest,
  signal: AbortSignal,
): Promise<RowStream> {
  const { rows, columns } = request;
  const source = await copy.stream(binaryCopySql(columns, rows.from({ ordered: true })), signal);
  const stream = formatted(source, request);
  // Also when nothing was read of it yet, and so nothing of the source either.
  stream.bytes.once("close", () => source.destroy());
  return stream;
}

const zoneOf = (head: ReportHead | undefined): string => head?.time_zone ?? "UTC";

function formatted(source: Readable, request: RowRequest): RowStream {
  const { columns, name, format, csv, head, createdAt } = request;
  if (format === "xlsx")
    return sheetWorkbook(source, {
      sheetName: name,
      columns,
      createdAt,
      timeZone: zoneOf(head),
      ...(head && workbookHead(head)),
    });
  if (format === "parquet") return parquetStream(source, { columns, compression: request.compression });
  const text =
    format === "json" && request.pretty
      ? prettyRows(source, columns, { ...head }, name)
      : textFile(source, { format, columns, csv, trailer: request.trailer });
  return { ...text, bytes: compressed(text.bytes, request.compression ?? "none") };
}

/** The zone and the document properties of a workbook. */
export const workbookHead = (head: ReportHead) => ({
  timeZone: head.time_zone,
  title: head.title ?? head.report,
  description: `Account ${head.account_id}, from ${head.from} to ${head.to} (exclusive). Times in ${head.time_zone}.`,
});
