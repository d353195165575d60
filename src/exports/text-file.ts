import { pipeline, Readable } from "node:stream";
import type { Column } from "./columns.js";
import { type Compression, compressed, compressedBytes } from "./compression.js";
import { type CsvOptions, crlfRows, csvCopySql, csvHead } from "./csv.js";
import type { PartedFormat, Segment } from "./file-parts.js";
import { jsonElements } from "./json.js";
import { countRows } from "./measure.js";
import { jsonCopySql } from "./ndjson.js";

export const textFormats = ["csv", "json", "ndjson"] as const;
export type TextFormat = (typeof textFormats)[number];

/** A file of rows, each of which is text: what stands before, between and behind them. */
interface TextLayout {
  copySql(from: string): string;
  /** Makes the rows of the file of what the statement gives, and counts them. */
  rows(): ReturnType<typeof countRows>;
  head: string;
  /** Between two parts that have rows. */
  between: string;
  tail(rows: number): string;
}

function textLayout({ format, columns, csv, trailer }: TextOptions): TextLayout {
  if (format === "csv")
    return {
      copySql: (from) => csvCopySql(columns, from, csv),
      rows: crlfRows,
      head: csvHead(columns, csv),
      between: "",
      tail: () => "",
    };
  const copySql = (from: string) => jsonCopySql(columns, from);
  const last = trailer ? `${JSON.stringify(trailer)}\n` : "";
  if (format === "ndjson") return { copySql, rows: countRows, head: "", between: "", tail: () => last };
  return {
    copySql,
    rows: jsonElements,
    head: "[",
    between: ",",
    tail: (rows) => (rows > 0 ? "\n]\n" : "]\n"),
  };
}

export interface TextOptions {
  format: TextFormat;
  columns: readonly Column[];
  csv?: CsvOptions | undefined;
  /** A last line of NDJSON that is no row. */
  trailer?: Readonly<Record<string, unknown>> | undefined;
}

/** A file of text in parts. Where it is compressed each part is so on its own: gzip and zstd allow that. */
export function partedText(options: TextOptions, compression: Compression): PartedFormat {
  const layout = textLayout(options);
  const inline = (text: string): Segment[] =>
    text === "" ? [] : [{ inline: compressedBytes(Buffer.from(text), compression) }];
  return {
    copySql: layout.copySql,
    part(source) {
      const rows = layout.rows();
      const bytes = compressed(
        pipeline(source, rows, () => {}),
        compression,
      );
      return { bytes, rows: () => rows.rows(), detail: () => null };
    },
    join(parts) {
      const withRows = parts.flatMap(({ rows }, part) => (rows > 0 ? [{ part }] : []));
      const all = [
        ...inline(layout.head),
        ...withRows.flatMap((part, index) => (index > 0 ? [...inline(layout.between), part] : [part])),
        ...inline(layout.tail(parts.reduce((sum, { rows }) => sum + rows, 0))),
      ];
      // An archive of nothing is still an archive.
      return all.length > 0 ? all : [{ inline: compressedBytes(Buffer.alloc(0), compression) }];
    },
  };
}

/**
 * The whole of a text file as one stream; `source` answers the statement of `textCopySql`. An error or an early end of the
 * source reaches the file.
 */
export function textFile(source: Readable, options: TextOptions): { bytes: Readable; rows(): number } {
  const { head, tail, rows: rowsOf } = textLayout(options);
  const rows = rowsOf();
  async function* bytes() {
    if (head !== "") yield Buffer.from(head);
    pipeline(source, rows, () => {});
    yield* rows as AsyncIterable<Buffer>;
    const end = tail(rows.rows());
    if (end !== "") yield Buffer.from(end);
  }
  return { bytes: Readable.from(bytes(), { objectMode: false }), rows: () => rows.rows() };
}

export const textCopySql = (options: TextOptions, from: string): string => textLayout(options).copySql(from);
