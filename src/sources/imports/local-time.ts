import { IANAZone } from "luxon";

const DAY_MS = 24 * 3_600_000;
const zones = new Map<string, IANAZone>();

function zoneOf(name: string): IANAZone {
  const zone = zones.get(name) ?? new IANAZone(name);
  zones.set(name, zone);
  return zone;
}

/**
 * The instant at which clocks of a zone show this time, given as the milliseconds that UTC clocks would show it at. Of a
 * time that comes twice, when clocks go back, the first; a time that is skipped moves forward by what was skipped.
 */
export function localToUtc(wallMs: number, timeZone: string): number {
  const zone = zoneOf(timeZone);
  const before = wallMs - zone.offset(wallMs - DAY_MS) * 60_000;
  const after = wallMs - zone.offset(wallMs + DAY_MS) * 60_000;
  const fits = (ms: number) => ms + zone.offset(ms) * 60_000 === wallMs;
  const fitting = [before, after].filter(fits);
  return fitting.length > 0 ? Math.min(...fitting) : before;
}

export interface WallTime {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  millisecond: number;
}

/** The same as milliseconds of a UTC clock; undefined for a time that no calendar has. */
export function wallMs({
  year,
  month,
  day,
  hour,
  minute,
  second,
  millisecond,
}: WallTime): number | undefined {
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second, millisecond));
  const exists =
    date.getUTCMonth() === month - 1 && date.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
  return exists ? date.getTime() : undefined;
}
