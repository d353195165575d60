import { IANAZone } from "luxon";
import { InvalidInput } from "../errors.js";

export const intervals = ["15m", "hour", "day", "week", "month", "all"] as const;
export type Interval = (typeof intervals)[number];

/** Every UTC offset in use since 2000 is a multiple of it, so local hours and days start on its grid. */
export const QUARTER_MS = 15 * 60_000;
export const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Monday, 5 January 1970. */
export const FIRST_MONDAY_MS = 4 * DAY_MS;

export const MAX_BUCKETS = 10_000;

/** No zone changed its offset and changed it back within a week since 2000. */
const PROBE_MS = 7 * DAY_MS;

type LocalInterval = Exclude<Interval, "15m" | "all">;
/** Nearly the length of a bucket, to refuse absurd ranges before they are walked. */
const NOMINAL_MS: Record<Exclude<Interval, "all">, number> = {
  "15m": QUARTER_MS,
  hour: HOUR_MS,
  day: DAY_MS,
  week: 7 * DAY_MS,
  month: 30 * DAY_MS,
};
/** Longer than any bucket, skipped days and shifted clocks included: the first bucket starts within it. */
const LOOK_BACK_MS: Record<LocalInterval, number> = {
  hour: DAY_MS,
  day: 3 * DAY_MS,
  week: 10 * DAY_MS,
  month: 35 * DAY_MS,
};

/** Zones that exist, as they were written: asking Intl takes 0.1 ms. What does not exist is not kept. */
const knownZones = new Set<string>();
const KNOWN_ZONES = 1_000;

/** Whether it names an IANA zone. Intl also takes offsets like `+05:30`, which are none. */
export function isTimeZone(name: string): boolean {
  if (knownZones.has(name)) return true;
  if (!/^[A-Za-z]/.test(name) || !IANAZone.isValidZone(name)) return false;
  if (knownZones.size < KNOWN_ZONES) knownZones.add(name);
  return true;
}

/**
 * The starts (UTC, in ms, ascending) of the buckets that cover [from, to), both on 15 minutes. A day, week or month
 * starts with the first instant that has its local date; an hour wherever the local hour or the UTC offset changes, so
 * a repeated hour is two buckets. The first bucket may start before `from`, except for `all`, which starts there.
 * Throws `InvalidInput` for more than `MAX_BUCKETS` and for an unknown zone.
 */
export function bucketStarts(from: number, to: number, interval: Interval, timeZone: string): number[] {
  if (!isTimeZone(timeZone)) throw new InvalidInput("unknown_time_zone", `Unknown time zone: ${timeZone}.`);
  if (interval === "all") return [from];
  if ((to - from) / NOMINAL_MS[interval] > MAX_BUCKETS * 1.1) throw tooManyBuckets(interval);
  const starts = interval === "15m" ? quarters(from, to) : localStarts(from, to, interval, timeZone);
  if (starts.length > MAX_BUCKETS) throw tooManyBuckets(interval);
  return starts;
}

const tooManyBuckets = (interval: Interval) =>
  new InvalidInput(
    "too_many_buckets",
    `The range has more than ${MAX_BUCKETS.toLocaleString("en")} buckets of interval ${interval}. ` +
      "Ask for a shorter range or a longer interval.",
  );

const quarters = (from: number, to: number): number[] =>
  Array.from({ length: Math.ceil((to - from) / QUARTER_MS) }, (_, index) => from + index * QUARTER_MS);

function localStarts(from: number, to: number, interval: LocalInterval, timeZone: string): number[] {
  const starts: number[] = [];
  let latest = Number.NEGATIVE_INFINITY;
  for (const span of offsetSpans(from - LOOK_BACK_MS[interval], to, timeZone)) {
    let unit = floorLocal(span.start + span.offset, interval);
    let start = span.start;
    while (start < span.end) {
      // A clock set back may show an earlier date once more: the later one has begun already and goes on.
      if (interval === "hour" || unit > latest) {
        starts.push(start);
        latest = unit;
      }
      unit = nextLocal(unit, interval);
      start = unit - span.offset;
    }
  }
  const first = starts.findLastIndex((start) => start <= from);
  return starts.slice(first);
}

/** Local times are written as if they were UTC, so that their arithmetic needs no zone. */
function floorLocal(local: number, interval: LocalInterval): number {
  switch (interval) {
    case "hour":
      return floorTo(local, HOUR_MS);
    case "day":
      return floorTo(local, DAY_MS);
    case "week":
      return floorTo(local - FIRST_MONDAY_MS, 7 * DAY_MS) + FIRST_MONDAY_MS;
    case "month": {
      const date = new Date(local);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth());
    }
  }
}

function nextLocal(unit: number, interval: LocalInterval): number {
  if (interval !== "month") return unit + NOMINAL_MS[interval];
  const date = new Date(unit);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

const floorTo = (value: number, step: number): number => Math.floor(value / step) * step;

export interface OffsetSpan {
  start: number;
  end: number;
  /** Milliseconds that local time is ahead of UTC. */
  offset: number;
}

/**
 * The stretches of [from, to) with one UTC offset each. Asking the zone is slow, so it is asked once a week. Changes are
 * found on the grid of `stepMs` that `from` lies on.
 */
export function offsetSpans(
  from: number,
  to: number,
  timeZone: string,
  stepMs: number = QUARTER_MS,
): OffsetSpan[] {
  const zone = IANAZone.create(timeZone);
  const offsetAt = (instant: number) => zone.offset(instant) * 60_000;
  const spans: OffsetSpan[] = [];
  let open = { start: from, offset: offsetAt(from) };
  let known = from;
  while (known < to) {
    const probe = Math.min(known + PROBE_MS, to);
    const offset = offsetAt(probe);
    while (open.offset !== offset) {
      const change = firstChange(known, probe, open.offset, stepMs, offsetAt);
      spans.push({ ...open, end: change });
      known = change;
      open = { start: change, offset: offsetAt(change) };
    }
    known = probe;
  }
  return [...spans.filter((span) => span.start < to), { ...open, end: to }].filter(
    (span) => span.start < span.end,
  );
}

/** The step in (before, after] from which on the offset is not `offset` any more. */
function firstChange(
  before: number,
  after: number,
  offset: number,
  stepMs: number,
  offsetAt: (instant: number) => number,
): number {
  let low = before;
  let high = after;
  while (high - low > stepMs) {
    // At least one step on: where the end lies off the grid, half of what is left may be less than that.
    const middle = low + Math.max(floorTo((high - low) / 2, stepMs), stepMs);
    if (offsetAt(middle) === offset) low = middle;
    else high = middle;
  }
  return high;
}
