import { offsetSpans, QUARTER_MS } from "./buckets.js";
import { type Cron, MIN_PAUSE_MINUTES } from "./cron.js";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3_600_000;
const MIN_PAUSE_MS = MIN_PAUSE_MINUTES * MINUTE_MS;
/** What a change of the clock does to a fire is known from the days around it. */
const AROUND_MS = 2 * DAY_MS;
const WIDEST_MS = 32 * DAY_MS;
/** Zones have no tables of their rules after 2100. A pattern that matches at all does so once in eight years. */
const HORIZON_MS = Date.UTC(2110, 0, 1);

/** When something fires: a pattern on the clock of a zone. */
export interface Pattern {
  cron: Cron;
  timeZone: string;
}

export interface Fire {
  at: number;
  /** `shifted`: the clock skips the time that was meant; `repeated`: it shows this time twice. */
  dst: "shifted" | "repeated" | null;
}

/**
 * The fires in [from, to), ascending; preview, validation and firing all ask here. Named hours fire once a date: a time
 * that the clock skips at the first instant after, one that it repeats when it is first shown. Where the hour begins with
 * `*`, whatever the clock shows fires: nothing in a gap, twice in a repeated hour. What a change of the clock brings
 * nearer than 15 minutes to the fire before is left out.
 */
export function firesBetween({ cron, timeZone }: Pattern, from: number, to: number): Fire[] {
  const start = Math.floor((from - AROUND_MS) / QUARTER_MS) * QUARTER_MS;
  const spans = offsetSpans(start, to + AROUND_MS, timeZone);
  const fires = spans.flatMap((span, index): Fire[] => {
    const shown = { from: span.start + span.offset, to: span.end + span.offset };
    const [before, after] = [spans[index - 1], spans[index + 1]];
    const shownBefore = before ? before.end + before.offset : shown.from;
    const shownAgain = after ? after.start + after.offset : shown.to;
    const isSkipped = !cron.followsHours && localTimes(cron, shownBefore, shown.from).length > 0;
    const first = cron.followsHours ? shown.from : Math.max(shown.from, shownBefore);
    return [
      ...(isSkipped ? [{ at: span.start, dst: "shifted" as const }] : []),
      ...localTimes(cron, first, shown.to).map((local) => ({
        at: local - span.offset,
        dst: local < shownBefore || local >= shownAgain ? ("repeated" as const) : null,
      })),
    ];
  });
  return apart(fires).filter((fire) => fire.at >= from && fire.at < to);
}

/** The next fires after an instant, `count` of them. */
export function nextFires(pattern: Pattern, after: number, count: number): Fire[] {
  const fires: Fire[] = [];
  let width = AROUND_MS;
  for (let from = after + 1; fires.length < count && from < HORIZON_MS; from += width) {
    // To look at dates alone is quick; local dates are less than a day away from those of UTC.
    from = Math.max(from, nextDate(pattern.cron, from - DAY_MS) - DAY_MS);
    width = Math.min(width * 2, WIDEST_MS);
    fires.push(...firesBetween(pattern, from, from + width));
  }
  return fires.slice(0, count);
}

/** The first date from here on that matches. */
function nextDate(cron: Cron, from: number): number {
  let date = Math.floor(from / DAY_MS) * DAY_MS;
  while (!cron.matchesDate(date) && date < HORIZON_MS) date += DAY_MS;
  return date;
}

/** The last fire before an instant. */
export function previousFire(pattern: Pattern, before: number): Fire | undefined {
  let to = before;
  for (let width = AROUND_MS; to > 0; width *= 2) {
    const last = firesBetween(pattern, to - width, to).at(-1);
    if (last) return last;
    to -= width;
  }
  return undefined;
}

/** The local times in [from, to) that match, written as if they were UTC. */
function localTimes(cron: Cron, from: number, to: number): number[] {
  const found: number[] = [];
  for (let date = Math.floor(from / DAY_MS) * DAY_MS; date < to; date += DAY_MS) {
    if (!cron.matchesDate(date)) continue;
    for (const minutes of cron.times) {
      const local = date + minutes * MINUTE_MS;
      if (local >= from && local < to) found.push(local);
    }
  }
  return found;
}

function apart(fires: readonly Fire[]): Fire[] {
  let last = Number.NEGATIVE_INFINITY;
  return fires.filter(({ at }) => {
    if (at - last < MIN_PAUSE_MS) return false;
    last = at;
    return true;
  });
}
