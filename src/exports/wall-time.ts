import { IANAZone } from "luxon";

const HOUR_MS = 60 * 60_000;
/** More hours than four years have. */
const MAX_KNOWN = 40_000;
/** Of an hour within which the offset changes, as it did at 00:01 in Newfoundland until 2011. */
const CHANGES = "changes";

/**
 * Turns instants, in milliseconds, into what a clock on the wall of `timeZone` showed, as the instant whose UTC fields say
 * so: what a cell without a zone can hold. An hour that the clock repeats in autumn shows twice.
 */
export function wallTimes(timeZone: string): (timeMs: number) => number {
  const zone = IANAZone.create(timeZone);
  if (!zone.isValid) throw new Error(`unknown time zone ${timeZone}`);
  const offsetAt = (time: number) => zone.offset(time) * 60_000;
  const offsetOf = (hour: number) => {
    const first = offsetAt(hour * HOUR_MS);
    return first === offsetAt((hour + 1) * HOUR_MS - 1) ? first : CHANGES;
  };
  const known = new Map<number, number | typeof CHANGES>();
  return (time) => {
    const hour = Math.floor(time / HOUR_MS);
    let offset = known.get(hour);
    if (offset === undefined) {
      offset = offsetOf(hour);
      if (known.size === MAX_KNOWN) known.clear();
      known.set(hour, offset);
    }
    return time + (offset === CHANGES ? offsetAt(time) : offset);
  };
}
