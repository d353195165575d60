import { type WallTime, wallMs } from "./local-time.js";

export const dateOrders = ["dmy", "mdy", "ymd"] as const;
export type DateOrder = (typeof dateOrders)[number];
type DateParts = readonly [number, number, number];

/** WhatsApp is of 2009. */
const FIRST_YEAR = 2009;

/** The date in this order; undefined when it is none. Years of two digits are of this century. */
export function readDate(
  [a, b, c]: DateParts,
  order: DateOrder,
): Pick<WallTime, "year" | "month" | "day"> | undefined {
  const [day, month, given] = order === "dmy" ? [a, b, c] : order === "mdy" ? [b, a, c] : [c, b, a];
  const year = given < 100 ? 2000 + given : given;
  const time = { hour: 0, minute: 0, second: 0, millisecond: 0 };
  if (year < FIRST_YEAR || month > 12 || wallMs({ year, month, day, ...time }) === undefined)
    return undefined;
  return { year, month, day };
}

interface Candidate {
  order: DateOrder;
  possible: boolean;
  /** Steps back in time from one message to the next. */
  backward: number;
  last: number;
}

/** How often the day must have changed before it counts as the part that changes fastest. */
const ENOUGH_CHANGES = 2;

export interface OrderGuess {
  /** `yearMayLead`: the notation is one in which some locale puts the year first. */
  see(date: DateParts, yearMayLead: boolean): void;
  /** Undefined: the dates fit more than one order equally well. */
  order(): DateOrder | undefined;
}

/**
 * Finds out in which order the dates of a chat are written: the one in which all of them exist and none lies ahead of now;
 * else the one in which they do not run backwards; else the one in which the day changes more often than the month.
 */
export function guessDateOrder(nowMs: number): OrderGuess {
  const latest = nowMs + 2 * 86_400_000;
  const candidates: Candidate[] = dateOrders.map((order) => ({
    order,
    possible: true,
    backward: 0,
    last: 0,
  }));
  const changes: [number, number, number] = [0, 0, 0];
  let previous: DateParts | undefined;

  function look(candidate: Candidate, date: DateParts): void {
    const found = readDate(date, candidate.order);
    const ms = found && Date.UTC(found.year, found.month - 1, found.day);
    if (ms === undefined || ms > latest) candidate.possible = false;
    else {
      if (ms < candidate.last) candidate.backward += 1;
      candidate.last = ms;
    }
  }

  return {
    see(date, yearMayLead) {
      if (!yearMayLead) candidates.find(({ order }) => order === "ymd")!.possible = false;
      if (previous?.every((part, index) => part === date[index])) return;
      for (const candidate of candidates) if (candidate.possible) look(candidate, date);
      if (previous)
        for (const index of [0, 1, 2] as const) if (previous[index] !== date[index]) changes[index] += 1;
      previous = date;
    },
    order() {
      const possible = candidates.filter((candidate) => candidate.possible);
      const least = Math.min(...possible.map(({ backward }) => backward));
      const [best, ...others] = possible.filter(({ backward }) => backward === least);
      if (!best || others.length === 0) return best?.order;
      return fastest([best, ...others], changes);
    },
  };
}

const DAY_AT: Record<DateOrder, 0 | 1 | 2> = { dmy: 0, mdy: 1, ymd: 2 };

function fastest(candidates: readonly Candidate[], changes: DateParts): DateOrder | undefined {
  const ranked = candidates
    .map(({ order }) => ({ order, changes: changes[DAY_AT[order]] }))
    .sort((a, b) => b.changes - a.changes);
  const [first, second] = ranked;
  return first!.changes >= ENOUGH_CHANGES && first!.changes > second!.changes ? first!.order : undefined;
}
