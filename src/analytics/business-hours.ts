import { offsetSpans } from "./buckets.js";
import { type Calendar, type Slot, weekdays } from "./calendar.js";

/** A stretch of time in which it is open, UTC in ms; the end is exclusive. */
export interface OpenInterval {
  startMs: number;
  endMs: number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/**
 * When it is open within [fromMs, toMs): ascending, apart from each other. It is open while the local clock shows a time
 * inside a slot of the local date. So a slot shrinks by what a clock set forward skips of it, and what a clock set back
 * shows again counts again. Takes about a millisecond a year.
 */
export function openIntervals(calendar: Calendar, fromMs: number, toMs: number): OpenInterval[] {
  const slotsOf = slotsByDate(calendar);
  const found: OpenInterval[] = [];
  const add = (startMs: number, endMs: number) => {
    if (startMs >= endMs) return;
    const last = found.at(-1);
    if (last && last.endMs >= startMs) last.endMs = endMs;
    else found.push({ startMs, endMs });
  };
  // Clocks change on whole minutes, so the spans have to begin on one for their ends to be found.
  for (const span of offsetSpans(floorTo(fromMs, MINUTE_MS), toMs, calendar.time_zone, MINUTE_MS)) {
    const start = Math.max(span.start, fromMs);
    // Within a span, local times differ from UTC by a constant, so days are 24 hours long.
    for (let day = floorTo(start + span.offset, DAY_MS); day < span.end + span.offset; day += DAY_MS)
      for (const slot of slotsOf(day))
        add(
          Math.max(day + slot.startMs - span.offset, start),
          Math.min(day + slot.endMs - span.offset, span.end),
        );
  }
  return found;
}

/**
 * How long it is open from `aMs` to `bMs`: the business-hours variant of a duration. What begins while it is closed
 * counts from the next opening on, so that an answer before that took no time. 0 when `bMs` is not after `aMs`.
 */
export function openMsBetween(intervals: readonly OpenInterval[], aMs: number, bMs: number): number {
  let total = 0;
  for (let index = firstEndingAfter(intervals, aMs); index < intervals.length; index++) {
    const { startMs, endMs } = intervals[index]!;
    if (startMs >= bMs) break;
    total += Math.max(0, Math.min(endMs, bMs) - Math.max(startMs, aMs));
  }
  return total;
}

/** Open hours for SQL, one element an interval. */
export interface OpenHoursArrays {
  /** RFC 3339, ascending. */
  starts: string[];
  lengthsMs: number[];
  /** Open time before the interval. */
  cumulativeMs: number[];
}

/**
 * Open intervals as three arrays for a statement that measures many durations. With them as `starts timestamptz[]`,
 * `lengths float8[]` and `before float8[]`, the open milliseconds up to an instant `t` are
 *
 *     case when i > 0 then before[i] + least(date_part('epoch', t - starts[i]) * 1000, lengths[i]) else 0 end
 *
 * where `i` is `width_bucket(t, starts)`: a binary search, however many intervals there are. The open time from `a` to
 * `b` is that up to `b` minus that up to `a`, at least 0. Both must lie in the range that the intervals were made for.
 */
export function openHoursArrays(intervals: readonly OpenInterval[]): OpenHoursArrays {
  let before = 0;
  const cumulativeMs = intervals.map(({ startMs, endMs }) => {
    const own = before;
    before += endMs - startMs;
    return own;
  });
  return {
    starts: intervals.map(({ startMs }) => new Date(startMs).toISOString()),
    lengthsMs: intervals.map(({ startMs, endMs }) => endMs - startMs),
    cumulativeMs,
  };
}

/** A slot in milliseconds since local midnight. */
type DaySlot = OpenInterval;

/** The slots of a local date, which is given by its midnight as if that were UTC. */
function slotsByDate({ weekly, holidays, open }: Calendar): (day: number) => readonly DaySlot[] {
  const special = new Map<number, readonly DaySlot[]>();
  for (const date of holidays) special.set(Date.parse(date), []);
  for (const { date, slots } of open) special.set(Date.parse(date), slots.map(toDaySlot));
  const regular = weekdays.map((name) => (weekly[name] ?? []).map(toDaySlot));
  return (day) => special.get(day) ?? regular[(new Date(day).getUTCDay() + 6) % 7]!;
}

const toDaySlot = ([start, end]: Slot): DaySlot => ({
  startMs: sinceMidnight(start),
  endMs: sinceMidnight(end),
});

const sinceMidnight = (time: string): number =>
  (Number(time.slice(0, 2)) * 60 + Number(time.slice(3))) * MINUTE_MS;

function firstEndingAfter(intervals: readonly OpenInterval[], instant: number): number {
  let low = 0;
  let high = intervals.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (intervals[middle]!.endMs > instant) high = middle;
    else low = middle + 1;
  }
  return low;
}

const floorTo = (value: number, step: number): number => Math.floor(value / step) * step;
