import { IANAZone } from "luxon";

/** Since 2000 every zone changes its offset on this grid only. */
const QUARTER_MS = 15 * 60_000;
/** More quarters than a year has. */
const MAX_KNOWN = 40_000;

/**
 * Turns instants into what a clock on the wall of `timeZone` showed, as a Date whose UTC fields say so: what a cell
 * without a zone can hold. An hour that the clock repeats in autumn shows twice.
 */
export function wallTimes(timeZone: string): (time: Date) => Date {
  const zone = IANAZone.create(timeZone);
  if (!zone.isValid) throw new Error(`unknown time zone ${timeZone}`);
  const offsets = new Map<number, number>();
  return (time) => {
    const quarter = Math.floor(time.getTime() / QUARTER_MS);
    let offset = offsets.get(quarter);
    if (offset === undefined) {
      offset = zone.offset(time.getTime()) * 60_000;
      if (offsets.size === MAX_KNOWN) offsets.clear();
      offsets.set(quarter, offset);
    }
    return new Date(time.getTime() + offset);
  };
}
