import type { Column, ColumnType } from "./columns.js";

/** What a column becomes on the wire; text and JSON are UTF-8. A time that RFC 3339 has no word for is unknown. */
const wireTypes: Record<ColumnType, (sql: string) => string> = {
  text: (sql) => `(${sql})::text`,
  json: (sql) => `(${sql})::jsonb::text`,
  timestamp: (sql) =>
    `CASE WHEN (${sql}) >= '0001-01-01Z' AND (${sql}) < '10000-01-01Z' THEN (${sql})::timestamptz END`,
  integer: (sql) => `(${sql})::int8`,
  number: (sql) => `(${sql})::float8`,
};

/**
 * The COPY statement of every format; `rowBatches` reads what it sends. The database hands over values as it has them, which
 * costs it a third of making text of them: it is the one part that cannot be doubled at will. `fromAndWhere` starts with FROM
 * and is trusted SQL.
 */
export function binaryCopySql(columns: readonly Column[], fromAndWhere: string): string {
  if (columns.length === 0) throw new Error("an export needs at least one column");
  // Their names are positions, so that an ORDER BY in `fromAndWhere` means the table's columns.
  const values = columns.map(({ type, sql }, i) => `${wireTypes[type](sql)} AS "_${i}"`);
  return `COPY (SELECT ${values.join(", ")} ${fromAndWhere}) TO STDOUT (FORMAT binary)`;
}

/** PostgreSQL counts microseconds from the year 2000. */
const EPOCH_MS = Date.UTC(2000, 0, 1);
/** 2^32 microseconds, in whole milliseconds and the rest. */
const HIGH_MS = 4_294_967;
const HIGH_REST = 296;

/** An instant, in milliseconds of the Unix epoch, rounded down. */
export function millisecondsAt(view: DataView, start: number): number {
  const high = view.getInt32(start);
  return high * HIGH_MS + Math.floor((high * HIGH_REST + view.getUint32(start + 4)) / 1000) + EPOCH_MS;
}

/** A whole number of 64 bits, in digits. */
export function integerText(view: DataView, start: number): string {
  return view.getInt32(start) === 0 ? String(view.getUint32(start + 4)) : String(view.getBigInt64(start));
}

/** Rows that arrived together. Only good until the next batch is asked for. */
export interface RowBatch {
  bytes: Buffer;
  /** Of the same bytes; its numbers are big-endian without being asked. */
  view: DataView;
  rows: number;
  columns: number;
  /** Field `row * columns + column` begins here in `bytes` … */
  starts: Int32Array;
  /** … and has so many bytes; NULL has -1. */
  lengths: Int32Array;
}

const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
const FLAGS_AND_EXTENSION = 8;
const END_OF_ROWS = -1;

/** What COPY sends of no rows. */
export const NO_ROWS = Buffer.concat([
  SIGNATURE,
  Buffer.alloc(FLAGS_AND_EXTENSION),
  Buffer.from([0xff, 0xff]),
]);

const viewOf = (bytes: Buffer) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

/**
 * Reads `FORMAT binary` of COPY wherever its chunks end. A chunk is looked through once and its values are neither decoded
 * nor copied. Fails where the stream ends before COPY has said so.
 */
export async function* rowBatches(
  source: AsyncIterable<Buffer>,
  columns: number,
): AsyncGenerator<RowBatch, void, undefined> {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let wantedBytes = SIGNATURE.length + FLAGS_AND_EXTENSION;
  let begun = false;
  let ended = false;
  const fields = fieldFinder(columns);

  // To the very end: who leaves a source earlier makes it stop.
  for await (const chunk of source) {
    if (ended) continue;
    waiting.push(chunk);
    waitingBytes += chunk.length;
    // A long value is put together once, when all of it is there.
    if (waitingBytes < wantedBytes) continue;
    const bytes = waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting);
    let at = 0;
    if (!begun) {
      if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw new Error("not a binary COPY");
      at = SIGNATURE.length + FLAGS_AND_EXTENSION + bytes.readInt32BE(SIGNATURE.length + 4);
      begun = true;
    }
    const found = fields(bytes, at);
    if (found.batch.rows > 0) yield found.batch;
    ended = found.ended;
    waiting = [bytes.subarray(found.at)];
    waitingBytes = bytes.length - found.at;
    wantedBytes = found.wanted - found.at;
  }
  if (!ended) throw new Error("the rows broke off before their end");
}

interface Found {
  batch: RowBatch;
  /** Where the first row begins that is not whole. */
  at: number;
  /** How far the bytes have to go for it to get on. */
  wanted: number;
  ended: boolean;
}

/** Finds the fields of whole rows. */
function fieldFinder(columns: number): (bytes: Buffer, from: number) => Found {
  let starts = new Int32Array(1024 * columns);
  let lengths = new Int32Array(1024 * columns);
  return (bytes, from) => {
    const view = viewOf(bytes);
    const end = bytes.length;
    let at = from;
    let rows = 0;
    const found = (wanted: number, ended = false): Found => ({
      batch: { bytes, view, rows, columns, starts, lengths },
      at,
      wanted,
      ended,
    });
    for (;;) {
      if (at + 2 > end) return found(at + 2);
      const count = view.getInt16(at);
      if (count === END_OF_ROWS) return found(at, true);
      if (count !== columns) throw new Error(`a row of ${count} fields instead of ${columns}`);
      if ((rows + 1) * columns > starts.length) {
        starts = grown(starts);
        lengths = grown(lengths);
      }
      let next = at + 2;
      for (let field = rows * columns; field < (rows + 1) * columns; field++) {
        if (next + 4 > end) return found(next + 4);
        const length = view.getInt32(next);
        next += 4;
        starts[field] = next;
        lengths[field] = length;
        if (length > 0) next += length;
        if (next > end) return found(next);
      }
      at = next;
      rows++;
    }
  };
}

function grown(numbers: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(numbers.length * 2);
  larger.set(numbers);
  return larger;
}
