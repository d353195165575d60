import { put } from "./put.js";

const DAY_MS = 86_400_000;
const ZERO = 0x30;
const COLON = 0x3a;
const DOT = 0x2e;
const LETTER_Z = 0x5a;

/**
 * Writes instants, in milliseconds, as RFC 3339 in UTC with milliseconds: the one form of an instant in every text format.
 * The instants of a column tend to share their day, which is kept.
 */
export function instantWriter(): (out: Buffer, at: number, timeMs: number) => number {
  let known = Number.NaN;
  let dayText = Buffer.alloc(0);
  return (out, start, timeMs) => {
    const day = Math.floor(timeMs / DAY_MS);
    if (day !== known) {
      known = day;
      dayText = Buffer.from(new Date(timeMs).toISOString().slice(0, "2026-01-01T".length));
    }
    const ms = timeMs - day * DAY_MS;
    const seconds = (ms / 1000) | 0;
    const minutes = (seconds / 60) | 0;
    const hours = (minutes / 60) | 0;
    const fraction = ms - seconds * 1000;
    const hundreds = (fraction / 100) | 0;
    const at = put(out, start, dayText);
    putPair(out, at, hours);
    out[at + 2] = COLON;
    putPair(out, at + 3, minutes - hours * 60);
    out[at + 5] = COLON;
    putPair(out, at + 6, seconds - minutes * 60);
    out[at + 8] = DOT;
    out[at + 9] = ZERO + hundreds;
    putPair(out, at + 10, fraction - hundreds * 100);
    out[at + 12] = LETTER_Z;
    return at + 13;
  };
}

function putPair(out: Buffer, at: number, value: number): void {
  const tens = (value / 10) | 0;
  out[at] = ZERO + tens;
  out[at + 1] = ZERO + value - tens * 10;
}
