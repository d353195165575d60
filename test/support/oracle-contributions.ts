import type { EventJson } from "../../src/sources/canonical-event.js";
import type { OracleEngagement } from "./oracle-engagement.js";
import type { Stage } from "./oracle-messages.js";
import {
  durationMs,
  durations,
  earliestOf,
  isArrival,
  type OracleMessage,
  recipientsIn,
  timeOf,
} from "./oracle-messages.js";

/** One message's share in one number, with the time that decides its bucket. */
export interface Contribution {
  metric: string;
  at: number;
  /** How many, or how many milliseconds. */
  amount: number;
  isGroup: boolean;
}

const isReading = ({ type }: EventJson) => type === "message.read" || type === "message.played";

/** How often a message is told to have been queued again. */
const MOST_RETRIES = 15;

/** What a message counts for, in this basis. Some counts have one place in both. */
export function contributions(
  message: OracleMessage,
  basis: "cohort" | "event",
  engagement: OracleEngagement,
): Contribution[] {
  const found: Contribution[] = [];
  const { anchor, isGroup } = message;
  const { queued, accepted, sent, delivered, read, played, failed, received } = message.stages;
  const add = (metric: string, at: number, amount = 1) => found.push({ metric, at, amount, isGroup });
  const count = (metric: string, eventTime: number | undefined) => {
    if (eventTime !== undefined) add(metric, basis === "cohort" ? anchor : eventTime);
  };

  if (message.facts.direction === "inbound") {
    count("messages_received", received);
    if (received !== undefined && message.timedByProvider) add("timed_by_provider", anchor);
  }
  if (message.facts.direction !== "outbound") return found;

  add("messages_attempted", anchor);
  if (message.timedByProvider) add("timed_by_provider", anchor);
  count("messages_sent", sent ?? earliestOf(delivered, read, played));
  const arrived = delivered ?? earliestOf(read, played);
  count("messages_delivered", arrived);
  count("messages_read", read ?? played);
  count("messages_played", played);
  if (message.terminalFailed) count("messages_failed", failed);
  if (arrived === undefined && !message.terminalFailed) count("messages_pending", sent);
  if (message.contradiction) add("message_contradictions", anchor);
  if (message.clockAnomaly) add("clock_anomalies", anchor);

  if (engagement.reactions > 0) add("reactions", anchor, engagement.reactions);
  if (arrived !== undefined) {
    const { repliedAt, clickedAt, reactedAt } = engagement;
    count("messages_replied", repliedAt);
    count("messages_clicked", clickedAt);
    count("messages_reacted", reactedAt);
    count("messages_engaged", earliestOf(repliedAt, clickedAt, reactedAt, read, played));
  }

  for (const { metric, from, to } of durations) measure(metric, from, to);
  measure("queue_wait", "queued", accepted === undefined ? "sent" : "accepted");

  if (queued !== undefined) {
    add("messages_queued", queued);
    const left = earliestOf(accepted, sent, delivered, read, played, failed);
    if (left === undefined) add("waiting", queued);
    else add("messages_dequeued", Math.max(queued, left));
  }
  const times = new Set(message.reports.filter(({ type }) => type === "message.queued").map(timeOf));
  if (times.size > 1) add("queue_retries", anchor, Math.min(MOST_RETRIES, times.size - 1));

  if (isGroup) {
    const recipients = recipientsIn(message.reports);
    const reached = recipients.filter((own) => own.some(isArrival)).length;
    const read = recipients.filter((own) => own.some(isReading)).length;
    add("group_messages", anchor);
    count("group_messages_delivered", arrived);
    if (recipients.length > 0 && reached === recipients.length)
      add("group_messages_delivered_to_all", anchor);
    if (recipients.length > 0) add("group_recipients", anchor, recipients.length);
    if (reached > 0) add("group_recipients_delivered", anchor, reached);
    if (read > 0) add("group_recipients_read", anchor, read);
  }
  return found;

  function measure(metric: string, from: Stage, to: Stage) {
    const ms = durationMs(message, from, to);
    if (ms !== undefined) add(metric, basis === "cohort" ? anchor : message.stages[to]!, Math.max(0, ms));
  }
}
