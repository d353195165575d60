import type { Readable } from "node:stream";
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

/** A file of rows: everything that its bytes depend on but the moment. */
export interface RowFile {
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
  /** Of JSON, for people: indented, and inside a document that begins with `head`. */
  pretty?: boolean | undefined;
  /** What a workbook and a pretty document say of themselves. */
  head?: ReportHead;
  /** A last line of NDJSON that is no row. */
  trailer?: Readonly<Record<string, unknown>> | undefined;
}

/** What COPY is asked for. */
export const copySql = ({ rows, columns }: RowFile): string =>
  binaryCopySql(columns, rows.from({ ordered: true }));

/**
 * Streams what COPY sends as a file, in constant memory. Rows come in the order of an index, so the same rows give the same
 * bytes.
 */
export function streamRows(source: Readable, file: RowFile): RowStream {
  const stream = formatted(source, file);
  // Also when nothing was read of it yet, and so nothing of the source either.
  stream.bytes.once("close", () => source.destroy());
  return stream;
}

function formatted(source: Readable, file: RowFile): RowStream {
  const { columns, name, format, compression = "none" } = file;
  if (format === "xlsx") return sheetWorkbook(source, workbookOf(file));
  if (format === "parquet") return parquetStream(source, file);
  const text = file.pretty
    ? prettyRows(source, columns, { ...file.head }, name)
    : textFile(source, { ...file, format });
  return { ...text, bytes: compressed(text.bytes, compression) };
}

/** A file of rows as a workbook, of which each sheet is called as the file is. */
export const workbookOf = ({ name: sheetName, columns, createdAt, head }: RowFile) => ({
  ...{ sheetName, columns, createdAt, timeZone: "UTC" },
  ...(head && workbookHead(head)),
});

/** The zone and the document properties of a workbook. */
export const workbookHead = (head: ReportHead) => ({
  timeZone: head.time_zone,
  title: head.title ?? head.report,
  description: `Account ${head.account_id}, from ${head.from} to ${head.to} (exclusive). Times in ${head.time_zone}.`,
});
