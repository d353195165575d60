import { DateTime } from "luxon";

/** As the settings have it, with its zone. */
export interface OracleCalendar {
  time_zone: string;
  weekly: Record<string, [string, string][]>;
  holidays: string[];
  open: { date: string; slots: [string, string][] }[];
}

const MINUTE_MS = 60_000;

/** Whether a minute is open, asked of the clock on the wall for each one. Known ones are kept: tests ask again and again. */
const known = new WeakMap<OracleCalendar, Map<number, boolean>>();

function isOpen(calendar: OracleCalendar, minute: number): boolean {
  const minutes = known.get(calendar) ?? new Map<number, boolean>();
  known.set(calendar, minutes);
  const before = minutes.get(minute);
  if (before !== undefined) return before;
  const local = DateTime.fromMillis(minute, { zone: calendar.time_zone });
  const date = local.toISODate()!;
  const weekday = local.setLocale("en").weekdayLong!.toLowerCase();
  const special = calendar.open.find((day) => day.date === date)?.slots;
  const slots = special ?? (calendar.holidays.includes(date) ? [] : (calendar.weekly[weekday] ?? []));
  const time = local.toFormat("HH:mm");
  const open = slots.some(([from, to]) => time >= from && time < to);
  minutes.set(minute, open);
  return open;
}

/** The open milliseconds from one instant to another. */
export function openMsByMinutes(calendar: OracleCalendar, from: number, to: number): number {
  let total = 0;
  for (let minute = Math.floor(from / MINUTE_MS) * MINUTE_MS; minute < to; minute += MINUTE_MS)
    if (isOpen(calendar, minute)) total += Math.min(to, minute + MINUTE_MS) - Math.max(from, minute);
  return total;
}
