import { DateTime } from "luxon";
import { QUARTER_MS } from "../buckets.js";

export interface Range {
  from: Date;
  to: Date;
}

/**
 * The range of the same length that ends where this one begins. Whole local days are followed by as many whole local
 * days, although the clock may have changed between; `undefined` where that would end up off the quarters of an hour.
 */
export function previousRange({ from, to }: Range, timeZone: string): Range | undefined {
  const [start, end] = [from, to].map((time) => DateTime.fromJSDate(time, { zone: timeZone }));
  const areDays = start!.equals(start!.startOf("day")) && end!.equals(end!.startOf("day"));
  const before = areDays
    ? start!
        .minus({ days: Math.round(end!.diff(start!, "days").days) })
        .startOf("day")
        .toMillis()
    : from.getTime() - (to.getTime() - from.getTime());
  return before % QUARTER_MS === 0 ? { from: new Date(before), to: from } : undefined;
}
