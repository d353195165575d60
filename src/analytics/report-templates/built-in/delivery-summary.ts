import { define } from "./define.js";

const metrics = [
  "messages_attempted",
  "messages_sent",
  "messages_delivered",
  "messages_read",
  "messages_failed",
  "messages_pending",
  "messages_received",
  "delivery_rate",
  "success_rate",
  "failure_rate",
  "read_rate",
  "time_to_send_p50",
  "time_to_send_p95",
  "time_to_deliver_p50",
  "time_to_deliver_p95",
  "time_to_read_p50",
  "time_to_read_p95",
];
const shown = { metrics: ["messages_sent", "messages_delivered", "messages_read", "messages_failed"] };

/** A failure's rate is its share of all attempts: the part that it has in the `failure_rate` of the totals. */
const failures = {
  kind: "table" as const,
  metrics: ["messages_failed", "failure_rate"],
  ratios: "of_all" as const,
  unknown: "hide" as const,
};

/** Programs read it, so its files stay what they are, byte by byte. */
export const deliverySummary = define({
  name: "delivery-summary",
  title: "Delivery summary",
  description: "What became of the messages: sent, delivered, read or failed, and how long it took.",
  workbook: "plain",
  sections: [
    { kind: "table", id: "totals", title: "Totals", metrics },
    {
      kind: "table",
      id: "by_{interval}",
      title: "By {interval}",
      interval: "requested",
      metrics,
      chart: shown,
    },
    {
      ...{ kind: "table", id: "by_{dimension}", title: "By {dimension}", group_by: "requested", metrics },
      chart: { metrics: ["messages_sent", "delivery_rate", "read_rate"] },
    },
    { ...failures, id: "failures_by_error_class", title: "Failures by class", group_by: ["error_class"] },
    { ...failures, id: "failures_by_error_code", title: "Failures by code", group_by: ["error_code"] },
  ],
});
