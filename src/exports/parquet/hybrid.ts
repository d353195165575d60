import { varint } from "./thrift.js";

/** Values are packed by so many. */
const GROUP = 8;

/**
 * Parquet's hybrid of runs and bit-packing for small numbers of `width` bits: at least eight equal values become a run,
 * what lies between runs is packed.
 */
export function hybrid(values: Uint8Array | Uint32Array, count: number, width: number): Buffer {
  const pieces: Buffer[] = [];
  let packedFrom = 0;
  let at = 0;
  while (at < count) {
    const value = values[at]!;
    let end = at + 1;
    while (end < count && values[end] === value) end++;
    if (end - at < GROUP) {
      at += GROUP;
      continue;
    }
    if (packedFrom < at) pieces.push(packed(values, packedFrom, at, width));
    pieces.push(run(value, end - at, width));
    at = end;
    packedFrom = end;
  }
  if (packedFrom < count) pieces.push(packed(values, packedFrom, count, width));
  return Buffer.concat(pieces);
}

function run(value: number, count: number, width: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil(width / 8));
  bytes.writeUIntLE(value, 0, bytes.length);
  return Buffer.concat([varint(count * 2), bytes]);
}

/** Zeros fill up the last group. */
function packed(values: Uint8Array | Uint32Array, from: number, to: number, width: number): Buffer {
  const groups = Math.ceil((to - from) / GROUP);
  const bytes = Buffer.alloc(groups * width);
  let at = 0;
  let bits = 0;
  let waiting = 0;
  for (let i = from; i < to; i++) {
    waiting |= values[i]! << bits;
    for (bits += width; bits >= 8; bits -= 8) {
      bytes[at++] = waiting & 0xff;
      waiting >>>= 8;
    }
  }
  if (bits > 0) bytes[at] = waiting;
  return Buffer.concat([varint(groups * 2 + 1), bytes]);
}
