import { define } from "./define.js";

const flow = ["messages_queued", "messages_dequeued", "queue_depth", "queue_retries"];
const waits = ["queue_wait_p50", "queue_wait_p95", "queue_wait_p99"];

/** Without the age of the oldest message: that is of the moment of asking, and a file is read later. */
export const queuePerformance = define({
  name: "queue-performance",
  title: "Queue performance",
  description: "How the sender's queue kept up: what came and went, what waited, and for how long.",
  sections: [
    {
      ...{ kind: "comparison", id: "headline", title: "The queue beside the period before" },
      metrics: [...flow, "queue_throughput", ...waits, "queue_wait_max"],
    },
    {
      ...{ kind: "table", id: "by_{interval}", title: "By {interval}", interval: "requested" },
      metrics: [...flow, "queue_throughput", "queue_drain_time", ...waits],
      chart: {
        metrics: ["messages_queued", "messages_dequeued", "queue_depth", "queue_wait_p50", "queue_wait_p95"],
      },
    },
    {
      ...{ kind: "table", id: "by_channel_id", title: "By channel", group_by: ["channel_id"] },
      metrics: [...flow, ...waits],
      order: { by: "messages_queued" },
      limit: 1_000,
      chart: { metrics: ["messages_queued", "queue_wait_p95"] },
    },
    {
      ...{ kind: "table", id: "by_template", title: "By template", group_by: ["template"] },
      metrics: [...flow, ...waits],
      order: { by: "messages_queued" },
      limit: 1_000,
      chart: { metrics: ["messages_queued", "queue_wait_p95"] },
    },
    { kind: "heatmap", id: "queued_by_hour", title: "When messages are queued", metric: "messages_queued" },
    {
      kind: "heatmap",
      id: "wait_by_hour",
      title: "When the queue is slow (95th percentile)",
      metric: "queue_wait_p95",
    },
  ],
});
