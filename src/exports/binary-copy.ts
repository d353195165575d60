import { type Column, type ColumnType, formattedSelect } from "./columns.js";

/** What a column becomes on the wire; text and JSON are UTF-8. An infinite time is unknown, as in every format. */
const wireTypes: Record<ColumnType, (sql: string) => string> = {
  text: (sql) => sql,
  json: (sql) => `(${sql})::text`,
  timestamp: (sql) => `CASE WHEN isfinite(${sql}) THEN (${sql})::timestamptz END`,
  integer: (sql) => `(${sql})::int8`,
  number: (sql) => `(${sql})::float8`,
};

/**
 * The COPY statement for the formats that hold typed values; `rowBatches` reads what it sends. `fromAndWhere` starts with
 * FROM and is trusted SQL.
 */
export const binaryCopySql = (columns: readonly Column[], fromAndWhere: string): string =>
  `COPY (${formattedSelect(columns, fromAndWhere, wireTypes)}) TO STDOUT (FORMAT binary)`;

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
