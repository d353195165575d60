import { EARLIEST_EVENT_MS } from "./canonical-event.js";
import { isRecord } from "./untrusted.js";

/** Past this, RFC 3339 has no notation. */
const LATEST_EVENT_MS = Date.UTC(9999, 11, 31);
const DECIMAL = /^\d{1,16}(?:\.\d{1,9})?$/;
const TWO_TO_32 = 2 ** 32;

/** A number, its digits, or the halves of a 64-bit integer, which protobuf libraries write as `{low, high}`. */
function asNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "string") return DECIMAL.test(value) ? Number(value) : undefined;
  if (!isRecord(value) || !Number.isInteger(value.low) || !Number.isInteger(value.high)) return undefined;
  return ((value.high as number) >>> 0) * TWO_TO_32 + ((value.low as number) >>> 0);
}

function instantOf(ms: number | undefined): string | undefined {
  // The negation refuses NaN too.
  if (ms === undefined || !(ms >= EARLIEST_EVENT_MS && ms <= LATEST_EVENT_MS)) return undefined;
  return new Date(Math.round(ms)).toISOString();
}

/** Unix seconds as web libraries write them, as RFC 3339; undefined when they are no usable time. */
export function instantOfSeconds(value: unknown): string | undefined {
  const seconds = asNumber(value);
  return seconds === undefined ? undefined : instantOf(seconds * 1000);
}

/** The same of milliseconds. */
export const instantOfMs = (value: unknown): string | undefined => instantOf(asNumber(value));
