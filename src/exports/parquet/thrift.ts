/** A value in Thrift's compact protocol, in which Parquet says what its bytes are. */
export interface Thrift {
  type: number;
  bytes: Buffer;
}

const TRUE = 1;
const FALSE = 2;
const I32 = 5;
const I64 = 6;
const BINARY = 8;
const LIST = 9;
const STRUCT = 12;
/** Longer lists have their length apart. */
const LONG_LIST = 15;

/** A number from 0 on, seven bits a byte, the low ones first. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Whole numbers are zigzag, so that small negative ones stay short; ours stay below 2^52. */
const zigzag = (value: number): Buffer => varint(value < 0 ? -2 * value - 1 : 2 * value);

export const bool = (value: boolean): Thrift => ({ type: value ? TRUE : FALSE, bytes: Buffer.alloc(0) });
export const i32 = (value: number): Thrift => ({ type: I32, bytes: zigzag(value) });
export const i64 = (value: number): Thrift => ({ type: I64, bytes: zigzag(value) });

export function binary(value: string | Buffer): Thrift {
  const content = typeof value === "string" ? Buffer.from(value) : value;
  return { type: BINARY, bytes: Buffer.concat([varint(content.length), content]) };
}

/** Of at least one item, all of a type. */
export function list(items: readonly Thrift[]): Thrift {
  const { length } = items;
  const type = items[0]?.type ?? STRUCT;
  const head = length < LONG_LIST ? Buffer.from([(length << 4) | type]) : Buffer.from([0xf0 | type]);
  const long = length < LONG_LIST ? [] : [varint(length)];
  return { type: LIST, bytes: Buffer.concat([head, ...long, ...items.map(({ bytes }) => bytes)]) };
}

/** Fields by their numbers, less than 16 apart; undefined ones are left out. */
export function struct(fields: Readonly<Record<number, Thrift | undefined>>): Thrift {
  const pieces: Buffer[] = [];
  let last = 0;
  for (const [key, value] of Object.entries(fields)) {
    if (!value) continue;
    pieces.push(Buffer.from([((Number(key) - last) << 4) | value.type]), value.bytes);
    last = Number(key);
  }
  return { type: STRUCT, bytes: Buffer.concat([...pieces, Buffer.from([0])]) };
}
