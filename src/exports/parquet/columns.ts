import type { ColumnType } from "../columns.js";
import type { RowSlice } from "../row-pages.js";
import { createDictionary } from "./dictionary.js";
import { hybrid } from "./hybrid.js";

/** The values of a column in one row group, encoded. */
export interface EncodedColumn {
  nulls: number;
  /** Distinct values as a page has them, where the rest is made of their numbers. */
  dictionary: { entries: number; bytes: Buffer } | undefined;
  /** The body of the page of data. */
  body: Buffer;
  /** As they are encoded; of numbers and times that are there. */
  range: { min: Buffer; max: Buffer } | undefined;
}

/** Gathers a column of a row group. */
export interface ColumnEncoder {
  add(slice: RowSlice, column: number): void;
  /** What has been added, which is forgotten. */
  take(): EncodedColumn;
}

export function columnEncoder(type: ColumnType): ColumnEncoder {
  if (type === "timestamp") return numbers({ fromPostgres: POSTGRES_EPOCH, hasRange: true });
  if (type === "integer") return numbers({ fromPostgres: 0n, hasRange: true });
  // NaN has no place in an order.
  if (type === "number") return numbers({ fromPostgres: 0n, hasRange: false });
  return texts();
}

/** Microseconds from 1970 to 2000, where PostgreSQL counts from. */
const POSTGRES_EPOCH = 946_684_800_000_000n;
const LOW_BITS = 0xffffffffn;
const HIGH_BIT = 2 ** 31;

/** Which values are there: Parquet's definition levels. */
function presence() {
  let levels = new Uint8Array(1024);
  let count = 0;
  let nulls = 0;
  return {
    add(isThere: boolean) {
      if (count === levels.length) levels = enlarged(levels, count + 1);
      if (!isThere) nulls++;
      levels[count++] = isThere ? 1 : 0;
    },
    take() {
      const runs = hybrid(levels, count, 1);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(runs.length);
      const taken = { nulls, levels: Buffer.concat([length, runs]) };
      count = 0;
      nulls = 0;
      return taken;
    },
  };
}

/** A larger array with the same content. */
function enlarged<A extends Uint8Array | Uint32Array>(array: A, least: number): A {
  const larger = new (array.constructor as new (length: number) => A)(Math.max(least, array.length * 2));
  larger.set(array);
  return larger;
}

/** Numbers of eight bytes, which COPY sends with the high ones first and Parquet has the other way round. */
function numbers({ fromPostgres, hasRange }: { fromPostgres: bigint; hasRange: boolean }): ColumnEncoder {
  const [addHigh, addLow] = [Number(fromPostgres >> 32n), Number(fromPostgres & LOW_BITS)];
  const there = presence();
  // Halves of numbers, the low one first, as every machine that Node runs on has them.
  let halves = new Uint32Array(2048);
  let used = 0;

  /** Of the least and of the greatest number, in words of `halves`. */
  function extremes() {
    let [min, max] = [0, 0];
    const isLess = (a: number, b: number) => {
      const [high, other] = [halves[a + 1]! ^ HIGH_BIT, halves[b + 1]! ^ HIGH_BIT];
      return high === other ? halves[a]! < halves[b]! : high >>> 0 < other >>> 0;
    };
    for (let i = 2; i < used; i += 2) {
      if (isLess(i, min)) min = i;
      else if (isLess(max, i)) max = i;
    }
    return { min: bytesOf(min, min + 2), max: bytesOf(max, max + 2) };
  }
  const bytesOf = (from: number, to: number) => Buffer.from(new Uint8Array(halves.slice(from, to).buffer));

  return {
    add({ batch: { view, columns, starts, lengths }, from, to }, column) {
      if (used + 2 * (to - from) > halves.length) halves = enlarged(halves, used + 2 * (to - from));
      for (let field = from * columns + column; field < to * columns; field += columns) {
        const isThere = lengths[field] !== -1;
        there.add(isThere);
        if (!isThere) continue;
        const start = starts[field]!;
        const low = view.getUint32(start + 4) + addLow;
        const high = view.getInt32(start) + addHigh + (low > 0xffffffff ? 1 : 0);
        if (high >= HIGH_BIT) throw new Error("a time that Parquet has no number for");
        halves[used++] = low;
        halves[used++] = high;
      }
    },
    take() {
      const { nulls, levels } = there.take();
      const range = hasRange && used > 0 ? extremes() : undefined;
      const body = Buffer.concat([levels, bytesOf(0, used)]);
      used = 0;
      return { nulls, dictionary: undefined, body, range };
    },
  };
}

/** Shorter values are copied faster byte by byte. */
const SHORT = 48;

/** Text as numbers of a dictionary, or as it is where most values differ. */
function texts(): ColumnEncoder {
  const there = presence();
  const dictionary = createDictionary();
  let inDictionary = true;
  let indexes = new Uint32Array(1024);
  let values = 0;
  let plain = Buffer.allocUnsafeSlow(4096);
  let used = 0;

  function append(bytes: Buffer, start: number, end: number) {
    if (used + end - start > plain.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(plain.length * 2, used + end - start));
      plain.copy(larger, 0, 0, used);
      plain = larger;
    }
    if (end - start <= SHORT) for (let i = start; i < end; i++) plain[used++] = bytes[i]!;
    else used += bytes.copy(plain, used, start, end);
  }

  function leaveDictionary() {
    const bytes = dictionary.bytes();
    for (let i = 0; i < values; i++) append(bytes, ...dictionary.range(indexes[i]!));
    inDictionary = false;
  }

  /** Written by COPY: the length of a value, the high byte first, stands before it. */
  function appendValue(bytes: Buffer, start: number, length: number) {
    append(bytes, start - 4, start + length);
    plain.writeUInt32LE(length, used - length - 4);
  }

  return {
    add({ batch: { bytes, columns, starts, lengths }, from, to }, column) {
      if (values + to - from > indexes.length) indexes = enlarged(indexes, values + to - from);
      for (let field = from * columns + column; field < to * columns; field += columns) {
        const length = lengths[field]!;
        there.add(length !== -1);
        if (length === -1) continue;
        const index = inDictionary ? dictionary.indexOf(bytes, starts[field]!, length) : undefined;
        if (index !== undefined) indexes[values++] = index;
        else {
          if (inDictionary) leaveDictionary();
          appendValue(bytes, starts[field]!, length);
        }
      }
    },
    take() {
      const { nulls, levels } = there.take();
      const entries = inDictionary ? dictionary.entries() : 0;
      const width = Math.max(1, 32 - Math.clz32(entries - 1));
      const body = entries
        ? [levels, Buffer.from([width]), hybrid(indexes, values, width)]
        : [levels, plain.subarray(0, used)];
      const encoded = {
        nulls,
        dictionary: entries ? { entries, bytes: Buffer.from(dictionary.bytes()) } : undefined,
        body: Buffer.concat(body),
        range: undefined,
      };
      dictionary.clear();
      [inDictionary, values, used] = [true, 0, 0];
      return encoded;
    },
  };
}
