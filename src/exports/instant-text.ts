import { put, putDigits } from "./put.js";

const DAY_MS = 86_400_000;
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
    let at = put(out, start, dayText);
    at = putDigits(out, at, (minutes / 60) | 0, 2);
    out[at++] = COLON;
    at = putDigits(out, at, minutes % 60, 2);
    out[at++] = COLON;
    at = putDigits(out, at, seconds % 60, 2);
    out[at++] = DOT;
    at = putDigits(out, at, ms % 1000, 3);
    out[at++] = LETTER_Z;
    return at;
  };
}
