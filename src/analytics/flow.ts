import { type InputIssue, InvalidInput } from "../errors.js";
import { bucketStarts, QUARTER_MS } from "./buckets.js";
import { localDate } from "./segments.js";

/** Whole local days, the last one exclusive: `2025-03-01`. */
export interface DayRange {
  from: string;
  to: string;
}

const DAY_MS = 24 * 3_600_000;

/** The longest range of flows. */
export const MAX_FLOW_DAYS = 400;
/** As many steps as are kept of a conversation. */
export const MAX_FLOW_DEPTH = 20;
export const MAX_FLOW_CONVERSATIONS = 1_000_000;

/**
 * The local days of [from, to). Throws `InvalidInput` for what is no local midnight, for an empty range and for one of
 * more than `maxDays`, however long these are.
 */
export function wholeDays(from: Date, to: Date, timeZone: string, maxDays: number): DayRange {
  const issues: InputIssue[] = [];
  for (const [path, time] of Object.entries({ from, to })) {
    const instant = time.getTime();
    const [start] = bucketStarts(instant, instant + QUARTER_MS, "day", timeZone);
    if (start !== instant)
      issues.push({
        path,
        code: "not_a_local_day",
        message: `must be the beginning of a day in ${timeZone}, such as ${new Date(start!).toISOString()}`,
      });
  }
  if (issues.length === 0 && from >= to)
    issues.push({ path: "to", code: "empty_range", message: "must be later than from" });
  if (issues.length > 0) throw InvalidInput.of(issues);
  const days = { from: localDate(from.getTime(), timeZone), to: localDate(to.getTime(), timeZone) };
  if (Date.parse(days.to) - Date.parse(days.from) > maxDays * DAY_MS)
    throw InvalidInput.of([
      { path: "to", code: "range_too_long", message: `must be at most ${maxDays} days after from` },
    ]);
  return days;
}

const kinds = { in: "inbound", out: "outbound", button: "button", template: "template" } as const;
export type StepKind = (typeof kinds)[keyof typeof kinds];

/** What a step of a conversation is: `template:offer` is the template `offer`. A label is "" where the content is unknown. */
export function readStep(step: string): { kind: StepKind; label: string } {
  const end = step.indexOf(":");
  return { kind: kinds[step.slice(0, end) as keyof typeof kinds], label: step.slice(end + 1) };
}
