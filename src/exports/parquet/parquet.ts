import { Readable } from "node:stream";
import { rowBatches } from "../binary-copy.js";
import type { Column } from "../columns.js";
import { type Compression, hasZstd } from "../compression.js";
import {
  type FilePart,
  type PartedFormat,
  type Segment,
  type StoredPart,
  segmentsOf,
} from "../file-parts.js";
import { rowPages } from "../row-pages.js";
import { columnEncoder, type EncodedColumn } from "./columns.js";
import { fileMetadata, type RowGroup } from "./metadata.js";
import { columnPages, lengthOf, pageCompression } from "./pages.js";

export interface ParquetOptions {
  columns: readonly Pick<Column, "name" | "type">[];
  /** Of the pages inside the file, which any reader undoes; without it what this machine does best. */
  compression?: Compression | undefined;
}

/** What joining needs to know of a part: its row groups. */
export interface ParquetPartDetail {
  groups: RowGroup[];
}

const MAGIC = Buffer.from("PAR1");
/** A row group is held in memory until it is written: so many rows, or bytes as the database sent them. */
const GROUP_ROWS = 2 ** 16;
const GROUP_BYTES = 2 ** 23;

/** Of a message log zstd leaves 31 bytes a row and gzip 37 of 100, for 0.7 and 1.3 µs of another thread. */
export const defaultPageCompression: Compression = hasZstd ? "zstd" : "gzip";

/**
 * A part of a Parquet file, from the rows of `binaryCopySql`: row groups without what stands around them. The same rows give
 * the same bytes, wherever the chunks of the source end.
 */
export function parquetPart(
  source: AsyncIterable<Buffer>,
  { columns, compression = defaultPageCompression }: ParquetOptions,
): FilePart<ParquetPartDetail> {
  const groups: RowGroup[] = [];
  let rows = 0;
  let offset = 0;
  const compress = pageCompression(compression);

  async function written(encoded: readonly EncodedColumn[], count: number): Promise<Buffer[]> {
    const pages = await Promise.all(encoded.map((column) => columnPages(column, count, compress)));
    const chunks = pages.map(({ bytes, plainBytes, dictionaryBytes }, i) => ({
      bytes: lengthOf(bytes),
      plain_bytes: plainBytes,
      dictionary_bytes: dictionaryBytes,
      nulls: encoded[i]!.nulls,
      ...rangeOf(encoded[i]!),
    }));
    groups.push({ rows: count, offset, compression, columns: chunks });
    const bytes = pages.flatMap((page) => page.bytes);
    offset += lengthOf(bytes);
    return bytes;
  }

  async function* bytes() {
    const encoders = columns.map(({ type }) => columnEncoder(type));
    let before: Promise<Buffer[]> = Promise.resolve([]);
    for await (const page of rowPages(rowBatches(source, columns.length), GROUP_ROWS, GROUP_BYTES)) {
      for await (const slice of page.slices) {
        encoders.forEach((encoder, i) => {
          encoder.add(slice, i);
        });
        rows += slice.to - slice.from;
      }
      if (page.rows() === 0) continue;
      const encoded = encoders.map((encoder) => encoder.take());
      yield* await before;
      // Compressed while the next one is gathered.
      before = written(encoded, page.rows());
      before.catch(() => {});
    }
    yield* await before;
  }
  return {
    bytes: Readable.from(bytes(), { objectMode: false }),
    rows: () => rows,
    detail: () => ({ groups }),
  };
}

const rangeOf = ({ range }: EncodedColumn) =>
  range && { min: range.min.toString("hex"), max: range.max.toString("hex") };

/** The file of parts behind each other; without any it has no rows. */
export function parquetFile(
  parts: readonly StoredPart<ParquetPartDetail>[],
  { columns }: Pick<ParquetOptions, "columns">,
): Segment[] {
  const groups: RowGroup[] = [];
  let at = MAGIC.length;
  for (const { detail, bytes } of parts) {
    for (const group of detail.groups) groups.push({ ...group, offset: at + group.offset });
    at += bytes;
  }
  const metadata = fileMetadata(columns, groups);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(metadata.length);
  return segmentsOf([MAGIC, ...parts.keys(), metadata, length, MAGIC]);
}

/** A whole file as a stream, in bounded memory. It fails with the error of the source. */
export function parquetStream(
  source: AsyncIterable<Buffer>,
  options: ParquetOptions,
): { bytes: Readable; rows(): number } {
  const part = parquetPart(source, options);
  async function* bytes() {
    let length = 0;
    yield MAGIC;
    for await (const chunk of part.bytes as AsyncIterable<Buffer>) {
      length += chunk.length;
      yield chunk;
    }
    const end = parquetFile([{ rows: part.rows(), bytes: length, detail: part.detail() }], options).at(-1)!;
    if ("inline" in end) yield end.inline;
  }
  return { bytes: Readable.from(bytes(), { objectMode: false }), rows: part.rows };
}

/** Files that are built in parts. */
export function partedParquet(options: ParquetOptions & { columns: readonly Column[] }): PartedFormat {
  return {
    columns: options.columns,
    isHeavy: true,
    part: (source) => parquetPart(source, options),
    join: (parts) => parquetFile(parts as readonly StoredPart<ParquetPartDetail>[], options),
  };
}
