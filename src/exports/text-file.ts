import { Readable } from "node:stream";
import type { Column } from "./columns.js";
import { type Compression, compressed, compressedBytes } from "./compression.js";
import { type CsvOptions, csvHead } from "./csv.js";
import { csvRows } from "./csv-rows.js";
import type { PartedFormat, Segment } from "./file-parts.js";
import { jsonRows } from "./json-rows.js";
import { type RowsWriter, textOfRows } from "./text-rows.js";

export const textFormats = ["csv", "json", "ndjson"] as const;
export type TextFormat = (typeof textFormats)[number];

/** A file of rows, each of which is text: what stands before, between and behind them. */
interface TextLayout {
  /** For the rows of one file or part. */
  writer(): RowsWriter;
  head: string;
  /** Between two parts that have rows. */
  between: string;
  tail(rows: number): string;
}

function textLayout({ format, columns, csv, trailer }: TextOptions): TextLayout {
  if (format === "csv")
    return {
      writer: () => csvRows(columns, csv),
      head: csvHead(columns, csv),
      between: "",
      tail: () => "",
    };
  if (format === "ndjson")
    return {
      writer: () => jsonRows(columns, "lines"),
      head: "",
      between: "",
      tail: () => (trailer ? `${JSON.stringify(trailer)}\n` : ""),
    };
  return {
    writer: () => jsonRows(columns, "elements"),
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
  const { columns } = options;
  const layout = textLayout(options);
  const inline = (text: string): Segment[] =>
    text === "" ? [] : [{ inline: compressedBytes(Buffer.from(text), compression) }];
  return {
    columns,
    isHeavy: false,
    part(source) {
      const { chunks, rows } = textOfRows(source, columns.length, layout.writer());
      const bytes = compressed(Readable.from(chunks, { objectMode: false }), compression);
      return { bytes, rows, detail: () => null };
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

/** The whole of a text file as one stream, of the rows that `binaryCopySql` selects. An error of the source reaches the file. */
export function textFile(
  source: AsyncIterable<Buffer>,
  options: TextOptions,
): { bytes: Readable; rows(): number } {
  const { head, tail, writer } = textLayout(options);
  const { chunks, rows } = textOfRows(source, options.columns.length, writer());
  async function* bytes() {
    if (head !== "") yield Buffer.from(head);
    yield* chunks;
    const end = tail(rows());
    if (end !== "") yield Buffer.from(end);
  }
  return { bytes: Readable.from(bytes(), { objectMode: false }), rows };
}
