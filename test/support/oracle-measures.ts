/**
 * The metrics of messages, computed from what messages count for. Counts bear the names of their metrics. A rate without
 * a denominator is null, and so is what is measured in the queue where nothing has ever been queued.
 */
import type { Contribution } from "./oracle-contributions.js";
import type { Place } from "./oracle-table.js";

const counts = [
  ...["attempted", "sent", "delivered", "read", "played", "failed", "received", "pending"].map(message),
  ...["replied", "clicked", "reacted", "engaged", "queued", "dequeued"].map(message),
  ...["reactions", "opt_outs", "opt_ins", "queue_retries", "message_contradictions", "clock_anomalies"],
  ...["group_messages", "group_messages_delivered", "group_messages_delivered_to_all", "group_recipients"],
];

function message(word: string) {
  return `messages_${word}`;
}

type Count = (name: string) => number;

/** Numerator and denominator. */
const rates: Record<string, (n: Count) => [part: number, whole: number]> = {
  delivery_rate: (n) => [n("messages_delivered"), n("messages_sent")],
  success_rate: (n) => [n("messages_delivered"), n("messages_delivered") + n("messages_failed")],
  failure_rate: (n) => [n("messages_failed"), n("messages_attempted")],
  read_rate: (n) => [n("messages_read"), n("messages_delivered")],
  reply_rate: (n) => [n("messages_replied"), n("messages_delivered")],
  click_rate: (n) => [n("messages_clicked"), n("messages_delivered")],
  reaction_rate: (n) => [n("messages_reacted"), n("messages_delivered")],
  engagement_rate: (n) => [n("messages_engaged"), n("messages_delivered")],
  opt_out_rate: (n) => [n("opt_outs"), n("messages_delivered")],
  group_delivered_share: (n) => [n("group_recipients_delivered"), n("group_recipients")],
  group_read_share: (n) => [n("group_recipients_read"), n("group_recipients")],
  provider_time_share: (n) => [n("timed_by_provider"), n("messages_attempted") + n("messages_received")],
  receipt_share: (n) => [n("messages_sent") - n("messages_pending"), n("messages_sent")],
};
/** A message to a group reaches several people, so these leave it out unless they are told not to. */
const withoutGroups = ["delivery_rate", "success_rate", "failure_rate", "read_rate"];

const timed = /^(time_to_send|time_to_deliver|time_to_read|queue_wait)_(p50|p75|p90|p95|p99|mean|max)$/;
const states = ["queue_depth", "queue_throughput", "queue_drain_time", "queue_oldest_age"];

export const isOfMessages = (metric: string): boolean =>
  counts.includes(metric) || metric in rates || timed.test(metric) || states.includes(metric);

/** The counts that a metric is made of: where one of them is, there is something of the metric. */
export function partsOf(metric: string): string[] {
  const parts: string[] = isMeasuredInQueue(metric) ? ["messages_queued", "messages_dequeued"] : [];
  rates[metric]?.((name) => parts.push(name));
  const [, duration] = timed.exec(metric) ?? [];
  if (duration !== undefined) parts.push(duration);
  if (counts.includes(metric)) parts.push(metric);
  return parts;
}

export const isMeasuredInQueue = (metric: string) =>
  metric.startsWith("queue_") || metric === "messages_queued" || metric === "messages_dequeued";

/** What is in the queue after all this. */
export const levelOf = (upto: readonly Contribution[]): number =>
  total(upto, "messages_queued") - total(upto, "messages_dequeued");

const total = (found: readonly Contribution[], name: string) =>
  found.filter(({ metric }) => metric === name).reduce((sum, { amount }) => sum + amount, 0);

export function measureMessages(
  metric: string,
  found: readonly Contribution[],
  place: Place<Contribution>,
  groups: "include" | "exclude",
): number | null {
  if (isMeasuredInQueue(metric) && total(place.upto(), "messages_queued") === 0) return null;
  if (counts.includes(metric)) return total(found, metric);
  const rate = rates[metric];
  if (rate) {
    const leavesOut = groups === "exclude" && withoutGroups.includes(metric);
    const own = leavesOut ? found.filter(({ isGroup }) => !isGroup) : found;
    const [part, whole] = rate((name) => total(own, name));
    return whole === 0 ? null : part / whole;
  }
  const [, duration, kind] = timed.exec(metric) ?? [];
  if (duration !== undefined)
    return statistic(
      found.filter((one) => one.metric === duration).map(({ amount }) => amount),
      kind!,
    );
  return queueState(metric, found, place);
}

function queueState(
  metric: string,
  found: readonly Contribution[],
  { upto, spanMs, isTotal, now }: Place<Contribution>,
): number | null {
  // Nothing leaves in a bucket that has not begun.
  const perMinute = spanMs > 0 ? total(found, "messages_dequeued") / (spanMs / 60_000) : null;
  switch (metric) {
    case "queue_depth":
      return levelOf(upto());
    case "queue_throughput":
      return perMinute;
    case "queue_drain_time":
      return perMinute ? (levelOf(upto()) / perMinute) * 60 : null;
    case "queue_oldest_age": {
      const waiting = upto().filter((one) => one.metric === "waiting");
      return isTotal && waiting.length > 0 ? (now - Math.min(...waiting.map(({ at }) => at))) / 1000 : null;
    }
  }
  throw new Error(`the oracle does not know ${metric}`);
}

/** In seconds. Nearest rank: the smallest value that at least p of all values do not exceed. */
export function statistic(ms: readonly number[], name: string): number | null {
  if (ms.length === 0) return null;
  if (name === "mean") return ms.reduce((sum, value) => sum + value, 0) / ms.length / 1000;
  if (name === "max") return ms.reduce((a, b) => Math.max(a, b)) / 1000;
  const percent = Number(name.slice(1));
  // In whole numbers: 0.95 * 20 is a little more than 19 in binary, and its ceiling would be one rank too high.
  const rank = Math.ceil((percent * ms.length) / 100);
  return ms.toSorted((a, b) => a - b)[rank - 1]! / 1000;
}
