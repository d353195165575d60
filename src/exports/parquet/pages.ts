import { promisify } from "node:util";
import * as zlib from "node:zlib";
import type { Compression } from "../compression.js";
import type { EncodedColumn } from "./columns.js";
import { DICTIONARY_ENCODING, PLAIN_ENCODING, RLE_ENCODING } from "./metadata.js";
import { i32, struct, type Thrift } from "./thrift.js";

type Compress = (bytes: Buffer) => Promise<Buffer>;

const DATA_PAGE = 0;
const DICTIONARY_PAGE = 2;
const GZIP_LEVEL = 3;

const { zstdCompress } = zlib as {
  zstdCompress?: (bytes: Buffer, done: (error: Error | null, result: Buffer) => void) => void;
};
const gzip = promisify(
  zlib.gzip as (
    bytes: Buffer,
    options: zlib.ZlibOptions,
    done: (error: Error | null, result: Buffer) => void,
  ) => void,
);

/** Pages are compressed one by one, on other threads. */
export function pageCompression(compression: Compression): Compress {
  if (compression === "none") return async (bytes) => bytes;
  if (compression === "gzip") return (bytes) => gzip(bytes, { level: GZIP_LEVEL });
  if (!zstdCompress) throw new Error("zstd needs Node 22.15");
  return promisify(zstdCompress);
}

/** The pages of a column in a row group; a dictionary is the first of them. */
export interface ColumnPages {
  bytes: Buffer[];
  /** Of the dictionary's page, with its header. */
  dictionaryBytes: number;
  /** With headers, before pages were compressed. */
  plainBytes: number;
}

export async function columnPages(
  column: EncodedColumn,
  rows: number,
  compress: Compress,
): Promise<ColumnPages> {
  const { dictionary, body } = column;
  const encoding = dictionary ? DICTIONARY_ENCODING : PLAIN_ENCODING;
  const [first, data] = await Promise.all([
    dictionary &&
      page(dictionary.bytes, compress, DICTIONARY_PAGE, {
        7: struct({ 1: i32(dictionary.entries), 2: i32(PLAIN_ENCODING) }),
      }),
    page(body, compress, DATA_PAGE, {
      5: struct({ 1: i32(rows), 2: i32(encoding), 3: i32(RLE_ENCODING), 4: i32(RLE_ENCODING) }),
    }),
  ]);
  return {
    bytes: [...(first?.bytes ?? []), ...data.bytes],
    dictionaryBytes: first ? lengthOf(first.bytes) : 0,
    plainBytes: (first?.plainBytes ?? 0) + data.plainBytes,
  };
}

async function page(plain: Buffer, compress: Compress, type: number, about: Record<number, Thrift>) {
  const compressed = await compress(plain);
  const header = struct({ 1: i32(type), 2: i32(plain.length), 3: i32(compressed.length), ...about }).bytes;
  return { bytes: [header, compressed], plainBytes: header.length + plain.length };
}

export const lengthOf = (buffers: readonly Buffer[]): number =>
  buffers.reduce((sum, { length }) => sum + length, 0);
