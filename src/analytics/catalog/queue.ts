import { counter, durationMetrics, type Metric, messageDimensions } from "./metric.js";

const queue = "queue";
const measured = { rollup: "messages", dimensions: messageDimensions, needsQueue: true } as const;

export const queueMetrics: readonly Metric[] = [
  counter(queue, "queued", {
    id: "messages_queued",
    title: "Queued",
    definition: "Outbound messages that entered the sender's queue, counted when they did.",
    formula: "queued",
    needsQueue: true,
  }),
  counter(queue, "dequeued", {
    id: "messages_dequeued",
    title: "Left the queue",
    definition: "Queued messages that were accepted, sent or failed, counted when they were.",
    formula: "queued and (accepted, sent, failed or later)",
    needsQueue: true,
  }),
  {
    ...measured,
    id: "queue_depth",
    family: queue,
    unit: "messages",
    title: "Queue depth",
    definition: "Messages in the queue at the end of the bucket; in totals at the end of the range.",
    formula: "Σ messages_queued − Σ messages_dequeued since the beginning",
    measure: { kind: "level", came: "queued", went: "dequeued" },
  },
  {
    ...measured,
    id: "queue_throughput",
    family: queue,
    unit: "per_minute",
    title: "Throughput",
    definition: "Messages that left the queue, per minute.",
    formula: "messages_dequeued / minutes of the bucket that have passed",
    measure: { kind: "pace", count: "dequeued" },
  },
  {
    ...measured,
    id: "queue_drain_time",
    family: queue,
    unit: "seconds",
    title: "Time to drain",
    definition:
      "How long the queue takes to empty at the throughput of the bucket; null while nothing leaves it.",
    formula: "queue_depth / queue_throughput",
    measure: { kind: "drain", came: "queued", went: "dequeued" },
  },
  {
    ...measured,
    id: "queue_oldest_age",
    family: queue,
    unit: "seconds",
    title: "Oldest message",
    definition:
      "How long the oldest message in the queue has waited by now; only in totals, null when none waits.",
    formula: "now − min(queued_at) of what is in the queue",
    measure: { kind: "age" },
  },
  counter(queue, "queue_retries", {
    id: "queue_retries",
    title: "Queue retries",
    definition: "Times that a message was queued again, at most 15 per message.",
    formula: "Σ (distinct queued times − 1)",
    needsQueue: true,
  }),
  ...durationMetrics(queue, "{basis}_queue_ms", {
    id: "queue_wait",
    title: "Wait in the queue",
    way: "from queued to accepted, or to sent where no acceptance is reported",
    formula: "(accepted_at, else sent_at) − queued_at",
    needsQueue: true,
  }),
];
