import { DateTime } from "luxon";
import { InvalidInput } from "../errors.js";
import { bucketStarts, QUARTER_MS } from "./buckets.js";

/** What an account keeps: days of one zone, and quarters of an hour from some time on. */
export interface KeptGrains {
  /** The zone whose days are kept; undefined while they are being built. */
  days: { zoneId: number; timeZone: string } | undefined;
  /** Quarters before this are gone; undefined = none are. In ms. */
  quartersFrom: number | undefined;
  /** Days before this are told apart no more; undefined = all are kept. A local date. */
  daysFrom?: string | undefined;
}

/** A part of a range and the grain that answers it. Bounds are [from, to): local dates, or instants in ms. */
export type Segment =
  | { grain: "days"; zoneId: number; from: string; to: string }
  | { grain: "quarters"; from: number; to: number };

/** No local day is longer, clock changes and skipped dates included. */
const LONGEST_DAY_MS = 3 * 24 * 3_600_000;

/** The local date at an instant, `2026-03-29`. */
export const localDate = (instant: number, timeZone: string): string =>
  DateTime.fromMillis(instant, { zone: timeZone }).toISODate()!;

/**
 * The coarsest grains that answer [from, to): whole local days by day, the rest by quarters of an hour. `byDay` is false
 * where the answer tells hours apart, or days of another zone. Throws `InvalidInput` (`not_kept`) for quarters that are
 * gone.
 */
export function segmentsOf(from: number, to: number, kept: KeptGrains, byDay: boolean): Segment[] {
  const segments = split(from, to, byDay ? kept.days : undefined);
  requireQuarters(segments, kept.quartersFrom);
  const { daysFrom } = kept;
  if (daysFrom !== undefined && segments.some((part) => part.grain === "days" && part.from < daysFrom))
    throw new InvalidInput("not_kept", `Days are kept from ${daysFrom} on. Ask for a later from.`);
  return segments;
}

function requireQuarters(segments: readonly Segment[], quartersFrom: number | undefined): void {
  if (
    quartersFrom !== undefined &&
    segments.some((part) => part.grain === "quarters" && part.from < quartersFrom)
  )
    throw new InvalidInput(
      "not_kept",
      `Hours, and days of another time zone than the account's, are kept from ${new Date(quartersFrom).toISOString()} on. ` +
        "Ask for a later from, or for whole days, weeks or months in the account's time zone.",
    );
}

function split(from: number, to: number, days: KeptGrains["days"]): Segment[] {
  if (!days) return [{ grain: "quarters", from, to }];
  const { zoneId, timeZone } = days;
  const first = dayStarts(from, from + LONGEST_DAY_MS, timeZone).find((start) => start >= from)!;
  const last = dayStarts(to - LONGEST_DAY_MS, to, timeZone).findLast((start) => start <= to)!;
  if (first >= last) return [{ grain: "quarters", from, to }];
  const segments: Segment[] = [
    { grain: "quarters", from, to: first },
    { grain: "days", zoneId, from: localDate(first, timeZone), to: localDate(last, timeZone) },
    { grain: "quarters", from: last, to },
  ];
  return segments.filter((part) => part.grain === "days" || part.from < part.to);
}

/** Starts of the days that begin in [from, to], and of the one that `from` lies in. */
const dayStarts = (from: number, to: number, timeZone: string) =>
  bucketStarts(from, to + QUARTER_MS, "day", timeZone);

/**
 * Everything before an instant, for what is counted since the beginning (no event is older than WhatsApp, 2009). Days that
 * are told apart no more are at `-infinity`.
 */
export function segmentsBefore(to: number, kept: KeptGrains): Segment[] {
  const segments = split(Date.UTC(2009, 0, 1), to, kept.days);
  const days = segments.findIndex((part) => part.grain === "days");
  const parts = segments
    .slice(Math.max(days, 0))
    .map((part) => (part.grain === "days" ? { ...part, from: "-infinity" } : part));
  requireQuarters(parts, kept.quartersFrom);
  return parts;
}
