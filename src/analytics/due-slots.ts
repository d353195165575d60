export const catchUps = ["none", "last", "all"] as const;
export type CatchUp = (typeof catchUps)[number];
export const overlaps = ["skip", "queue"] as const;
export type Overlap = (typeof overlaps)[number];

/** A slot that is no later than this is on time: a restart is no downtime. Less than the pause between two fires. */
export const ON_TIME_MS = 10 * 60_000;
/** How many missed slots `all` makes up for: the newest ones. */
export const MAX_CAUGHT_UP = 100;
/** How many slots may wait for the runs before them. */
export const MAX_WAITING = 100;
/** Missed slots that are older are not looked for. */
export const MAX_AWAY_MS = 31 * 24 * 3_600_000;

/** What became of a slot. `waiting` ends as `queued`, or as `cancelled` when its schedule stops. */
export type SlotOutcome = "queued" | "waiting" | "skipped_overlap" | "missed" | "cancelled";

export interface Slot {
  fireAt: number;
  outcome: SlotOutcome;
  reason: string | null;
}

export interface Line {
  /** A run of the schedule is queued or running. */
  isBusy: boolean;
  /** Slots that wait for it. */
  waiting: number;
}

/**
 * Decides what becomes of slots that are due, ascending. At most one is on time: the newest. Of the others catch-up makes
 * `none` run, the `last` (unless one is on time), or `all`, which stand in line and run one after another. A slot that meets
 * an open run waits or is skipped, as `overlap` says; one that meets a line of caught-up slots always joins it.
 */
export function decideSlots(
  due: readonly number[],
  policy: { catchUp: CatchUp; overlap: Overlap },
  line: Line,
  now: number,
): Slot[] {
  let { isBusy, waiting } = line;
  return due.map((fireAt, index): Slot => {
    const isOnTime = now - fireAt <= ON_TIME_MS;
    const newer = due.length - 1 - index;
    const reason = isOnTime ? null : "caught_up";
    if (!isOnTime && policy.catchUp === "none") return { fireAt, outcome: "missed", reason: "too_late" };
    if (!isOnTime && policy.catchUp === "last" && newer > 0)
      return { fireAt, outcome: "missed", reason: "newer_slot" };
    if (newer >= MAX_CAUGHT_UP) return { fireAt, outcome: "missed", reason: "too_many" };
    if (!isBusy && waiting === 0) {
      isBusy = true;
      return { fireAt, outcome: "queued", reason };
    }
    const joins =
      policy.overlap === "queue" || (policy.catchUp === "all" && (!isOnTime || waiting > 0 || index > 0));
    if (!joins) return { fireAt, outcome: "skipped_overlap", reason: "previous_run_open" };
    if (waiting >= MAX_WAITING) return { fireAt, outcome: "skipped_overlap", reason: "line_full" };
    waiting++;
    return { fireAt, outcome: "waiting", reason };
  });
}
