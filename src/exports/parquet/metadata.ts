import type { Column, ColumnType } from "../columns.js";
import type { Compression } from "../compression.js";
import { binary, bool, i32, i64, list, struct, type Thrift } from "./thrift.js";

export const PLAIN_ENCODING = 0;
export const RLE_ENCODING = 3;
export const DICTIONARY_ENCODING = 8;

const VERSION = 1;
const CREATED_BY = "whatsapp-analytics-service version 1.0.0";
const OPTIONAL = 1;
const INT64 = 2;
const DOUBLE = 5;
const BYTE_ARRAY = 6;
const NOTHING = struct({});

const codecs: Record<Compression, number> = { none: 0, gzip: 2, zstd: 6 };

/** The physical type of a column, and what its values mean: in the words of old readers, and of new ones. */
const types: Record<ColumnType, { physical: number; converted?: Thrift; logical?: Thrift }> = {
  text: { physical: BYTE_ARRAY, converted: i32(0), logical: struct({ 1: NOTHING }) },
  json: { physical: BYTE_ARRAY, converted: i32(19), logical: struct({ 12: NOTHING }) },
  timestamp: {
    physical: INT64,
    converted: i32(10),
    // An instant, in microseconds.
    logical: struct({ 8: struct({ 1: bool(true), 2: struct({ 2: NOTHING }) }) }),
  },
  integer: { physical: INT64 },
  number: { physical: DOUBLE },
};

/** A column of a row group: what a footer says of it, as JSON. */
export interface ColumnChunk {
  bytes: number;
  plain_bytes: number;
  /** Of these bytes, those of the dictionary, which comes first; 0 without one. */
  dictionary_bytes: number;
  nulls: number;
  /** Encoded, in hex. */
  min?: string;
  max?: string;
}

/** A row group; its columns stand behind each other. */
export interface RowGroup {
  rows: number;
  /** Of its first byte, in the part that it belongs to. */
  offset: number;
  compression: Compression;
  columns: ColumnChunk[];
}

type NamedColumn = Pick<Column, "name" | "type">;

/** What stands at the end of a file, its offsets from the beginning of the file. */
export function fileMetadata(columns: readonly NamedColumn[], groups: readonly RowGroup[]): Buffer {
  const rows = groups.reduce((sum, group) => sum + group.rows, 0);
  const root = struct({ 4: binary("rows"), 5: i32(columns.length) });
  return struct({
    1: i32(VERSION),
    2: list([root, ...columns.map(schemaElement)]),
    3: i64(rows),
    4: list(groups.map((group) => rowGroup(columns, group))),
    6: binary(CREATED_BY),
    // The order in which least and greatest values are meant: that of the type.
    7: list(columns.map(() => struct({ 1: NOTHING }))),
  }).bytes;
}

function schemaElement({ name, type }: NamedColumn): Thrift {
  const { physical, converted, logical } = types[type];
  return struct({ 1: i32(physical), 3: i32(OPTIONAL), 4: binary(name), 6: converted, 10: logical });
}

function rowGroup(columns: readonly NamedColumn[], group: RowGroup): Thrift {
  let at = group.offset;
  const chunks = group.columns.map((chunk, i) => {
    const described = columnChunk(columns[i]!, chunk, group, at);
    at += chunk.bytes;
    return described;
  });
  const sum = (field: "bytes" | "plain_bytes") =>
    i64(group.columns.reduce((total, chunk) => total + chunk[field], 0));
  return struct({
    1: list(chunks),
    2: sum("plain_bytes"),
    3: i64(group.rows),
    5: i64(group.offset),
    6: sum("bytes"),
  });
}

function columnChunk({ name, type }: NamedColumn, chunk: ColumnChunk, group: RowGroup, at: number): Thrift {
  const hasDictionary = chunk.dictionary_bytes > 0;
  const encodings = hasDictionary
    ? [PLAIN_ENCODING, RLE_ENCODING, DICTIONARY_ENCODING]
    : [PLAIN_ENCODING, RLE_ENCODING];
  const bound = (hex: string | undefined) =>
    hex === undefined ? undefined : binary(Buffer.from(hex, "hex"));
  const about = struct({
    1: i32(types[type].physical),
    2: list(encodings.map(i32)),
    3: list([binary(name)]),
    4: i32(codecs[group.compression]),
    5: i64(group.rows),
    6: i64(chunk.plain_bytes),
    7: i64(chunk.bytes),
    9: i64(at + chunk.dictionary_bytes),
    11: hasDictionary ? i64(at) : undefined,
    12: struct({ 3: i64(chunk.nulls), 5: bound(chunk.max), 6: bound(chunk.min) }),
  });
  return struct({ 2: i64(at), 3: about });
}
