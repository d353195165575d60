import { EARLIEST_EVENT_MS } from "./canonical-event.js";

export type UntrustedRecord = Readonly<Record<string, unknown>>;

/** Past this, RFC 3339 has no notation. */
const LATEST_EVENT_MS = Date.UTC(9999, 11, 31);
const UNIX_SECONDS = /^\d{1,12}$/;

export const isRecord = (value: unknown): value is UntrustedRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The object at this place, or an empty one: a missing part then reads as a part without fields. */
export const asRecord = (value: unknown): UntrustedRecord => (isRecord(value) ? value : {});

export const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/**
 * A non-empty text. Providers send ids as numbers now and then; one beyond 2^53 has already lost digits in
 * JSON.parse, and no id is better than a wrong one.
 */
export function asText(value: unknown): string | undefined {
  if (typeof value === "string") return value === "" ? undefined : value;
  return typeof value === "number" && Number.isSafeInteger(value) ? String(value) : undefined;
}

/** Unix seconds, as digits or as an integer, as RFC 3339 UTC with milliseconds; undefined when it is no usable time. */
export function asInstant(value: unknown): string | undefined {
  const digits = typeof value === "number" ? String(value) : value;
  if (typeof digits !== "string" || !UNIX_SECONDS.test(digits)) return undefined;
  const ms = Number(digits) * 1000;
  return ms < EARLIEST_EVENT_MS || ms > LATEST_EVENT_MS ? undefined : new Date(ms).toISOString();
}

/** The length of a text in Unicode code points; undefined when it is no text. */
export function textLength(value: unknown): number | undefined {
  if (typeof value !== "string") return undefined;
  let length = 0;
  for (const _ of value) length += 1;
  return length;
}

/** The same object without the keys that hold undefined; undefined when nothing is left. */
export function present<T extends object>(
  value: T,
): { [K in keyof T]: Exclude<T[K], undefined> } | undefined {
  const entries = Object.entries(value).filter(([, part]) => part !== undefined);
  return entries.length === 0
    ? undefined
    : (Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> });
}
