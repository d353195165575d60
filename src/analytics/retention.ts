import { z } from "zod";
import type { InputIssue } from "../errors.js";

/** How many days an account keeps what; null: for ever. */
export interface Retention {
  /** Events as they came. */
  events_days: number;
  /** Messages, which late statuses still reach. */
  messages_days: number;
  /** Numbers by 15 minutes: hours, and days of other zones. */
  quarters_days: number;
  /** Numbers by day. */
  days_days: number | null;
}

export const defaultRetention: Retention = {
  events_days: 400,
  messages_days: 430,
  quarters_days: 90,
  days_days: null,
};

/** Messages outlive their events by this, so that no event that is still there speaks of a message that is gone. */
const MESSAGES_OUTLIVE_DAYS = 30;

/** No message is younger than this when it goes, whatever is set. */
export const LEAST_MESSAGES_DAYS = 1 + MESSAGES_OUTLIVE_DAYS;

const days = z.int().min(1).max(36_500);

/** What of it a request may set. */
export const retentionFields = z.strictObject({
  events_days: days.optional(),
  messages_days: days.optional(),
  quarters_days: days.optional(),
  days_days: days.nullable().optional(),
});
export type RetentionChanges = z.output<typeof retentionFields>;

export const effectiveRetention = (stored: RetentionChanges): Retention => ({
  ...defaultRetention,
  ...Object.fromEntries(Object.entries(stored).filter(([, value]) => value !== undefined)),
});

/** What does not fit together, with what is set already. */
export function retentionIssues(retention: Retention): InputIssue[] {
  const { events_days, messages_days, quarters_days, days_days } = retention;
  const least = events_days + MESSAGES_OUTLIVE_DAYS;
  return [
    ...(messages_days < least
      ? [
          {
            path: "retention.messages_days",
            code: "too_small",
            message: `must be at least ${least}, ${MESSAGES_OUTLIVE_DAYS} more than events_days`,
          },
        ]
      : []),
    ...(days_days !== null && days_days < quarters_days
      ? [
          {
            path: "retention.days_days",
            code: "too_small",
            message: `must be at least ${quarters_days}, as many as quarters_days, or null`,
          },
        ]
      : []),
  ];
}
