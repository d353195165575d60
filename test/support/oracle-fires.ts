/** A pattern as sets, so that no cron expression has to be read to know what it means. */
export interface PlainPattern {
  minutes: readonly number[];
  hours: readonly number[] | "*";
  /** Undefined: any. */
  days?: readonly (number | "L")[] | undefined;
  months?: readonly number[] | undefined;
  weekdays?: readonly number[] | undefined;
}

const MINUTE_MS = 60_000;
const QUARTER_MS = 15 * MINUTE_MS;

export const expressionOf = ({ minutes, hours, days, months, weekdays }: PlainPattern): string =>
  [minutes, hours === "*" ? undefined : hours, days, months, weekdays]
    .map((values) => values?.join(",") ?? "*")
    .join(" ");

/** Local time at each quarter of an hour of [from, to), written as if it were UTC: what Intl says, asked one by one. */
export function localClock(timeZone: string, from: number, to: number): (instant: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  });
  const offsets: number[] = [];
  for (let instant = from; instant < to; instant += QUARTER_MS) {
    const [month, day, year, hour, minute] = format.format(instant).match(/\d+/g)!.map(Number);
    offsets.push(Date.UTC(year!, month! - 1, day!, hour!, minute!) - instant);
  }
  return (instant) => instant + offsets[Math.floor((instant - from) / QUARTER_MS)]!;
}

/**
 * When a pattern fires in [from, to), found by looking at the clock every minute. A pattern of every hour fires when the
 * clock shows a time of it; any other when the clock comes to a time of it or past it, for the first time. What comes less
 * than 15 minutes after the fire before is left out.
 */
export function minuteByMinute(
  pattern: PlainPattern,
  clock: (instant: number) => number,
  from: number,
  to: number,
): number[] {
  const fires: number[] = [];
  let reached = clock(from) - MINUTE_MS;
  for (let instant = from; instant < to; instant += MINUTE_MS) {
    const shown = clock(instant);
    let isDue = false;
    if (pattern.hours === "*") isDue = matches(pattern, shown);
    else for (; reached < shown; reached += MINUTE_MS) isDue ||= matches(pattern, reached + MINUTE_MS);
    if (isDue && instant - (fires.at(-1) ?? Number.NEGATIVE_INFINITY) >= QUARTER_MS) fires.push(instant);
  }
  return fires;
}

function matches({ minutes, hours, days, months, weekdays }: PlainPattern, local: number): boolean {
  if (!minutes.includes((local / MINUTE_MS) % 60)) return false;
  const date = new Date(local);
  if (hours !== "*" && !hours.includes(date.getUTCHours())) return false;
  if (months && !months.includes(date.getUTCMonth() + 1)) return false;
  const isLast = new Date(local + 24 * 3_600_000).getUTCDate() === 1;
  const day = days?.includes(date.getUTCDate()) || (isLast && days?.includes("L"));
  const weekday = weekdays?.includes(date.getUTCDay());
  if (days && weekdays) return Boolean(day || weekday);
  return days ? Boolean(day) : (weekday ?? true);
}
