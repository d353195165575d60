import { DateTime } from "luxon";

export type Interval = "15m" | "hour" | "day" | "week" | "month" | "all";

const SLOT_MS = 15 * 60_000;
const DAY_MS = 24 * 3_600_000;
/** Longer than any bucket, so that a walk that starts this much earlier meets the first bucket's true start. */
const LOOK_BACK_MS: Record<Interval, number> = {
  "15m": 0,
  hour: DAY_MS,
  day: 3 * DAY_MS,
  week: 10 * DAY_MS,
  month: 34 * DAY_MS,
  all: 0,
};

/**
 * Which bucket an instant in [from, to) belongs to, as the UTC instant of the bucket's start; `all` lists every bucket
 * that [from, to) touches, in order.
 *
 * A bucket is a run of 15-minute slots whose local time reads the same (the date, the ISO week …; for hours the hour and
 * the UTC offset, so that a repeated hour is two buckets), and it starts where the reading changes. Walking the slots
 * needs no rule for days of 23, 24.5 or 25 hours, nor for midnights that do not exist or come twice.
 */
export function bucketOfSlots(from: number, to: number, interval: Interval, zone: string): Buckets {
  const key = JSON.stringify([from, to, interval, zone]);
  const known = walked.get(key) ?? walkSlots(from, to, interval, zone);
  walked.set(key, known);
  return known;
}

type Buckets = ((instant: number) => string) & { all: string[] };

/** Thousands of property cases ask for the same few walks. */
const walked = new Map<string, Buckets>();

function walkSlots(from: number, to: number, interval: Interval, zone: string): Buckets {
  const starts = new Map<number, string>();
  let reading: string | undefined;
  let start = "";
  for (let slot = slotOf(from - LOOK_BACK_MS[interval]); slot < to; slot += SLOT_MS) {
    const next = read(slot, interval, zone);
    if (next !== reading) {
      reading = next;
      start = new Date(interval === "all" ? from : slot).toISOString();
    }
    if (slot >= from) starts.set(slot, start);
  }
  const bucketOf = (instant: number): string => starts.get(slotOf(instant))!;
  return Object.assign(bucketOf, { all: [...new Set(starts.values())] });
}

function slotOf(instant: number): number {
  return Math.floor(instant / SLOT_MS) * SLOT_MS;
}

function read(slot: number, interval: Interval, zone: string): string {
  if (interval === "all") return "";
  if (interval === "15m") return String(slot);
  const local = DateTime.fromMillis(slot, { zone });
  if (!local.isValid) throw new Error(`unknown time zone ${zone}`);
  switch (interval) {
    case "hour":
      return `${local.toISODate()} ${local.hour} ${local.offset}`;
    case "day":
      return local.toISODate();
    case "week":
      return `${local.weekYear}-${local.weekNumber}`;
    case "month":
      return `${local.year}-${local.month}`;
  }
}
