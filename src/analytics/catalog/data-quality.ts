import { counter, type Metric, ratio } from "./metric.js";

const quality = "data_quality";

export const dataQualityMetrics: readonly Metric[] = [
  counter(quality, "contradictions", {
    id: "message_contradictions",
    title: "Contradictions",
    definition:
      "Outbound messages, but to groups, reported both as failed and as arrived; they count as arrived.",
    formula: "failed and (delivered, read or played), chat_kind ≠ group",
  }),
  counter(quality, "clock_anomalies", {
    id: "clock_anomalies",
    title: "Clock anomalies",
    definition: "Outbound messages with a measured time that runs backwards; it counts as 0 seconds.",
    formula: "sent_at < queued_at, delivered_at < sent_at or read_at < delivered_at",
  }),
  ratio(
    quality,
    { part: { plus: ["provider_timed"] }, whole: { plus: ["attempted", "{basis}_received"] } },
    {
      id: "provider_time_share",
      title: "Timed by WhatsApp",
      definition:
        "The share of messages whose first known stage WhatsApp itself timed, not a gateway or our clock.",
      formula: "messages anchored at a provider's time / (messages_attempted + messages_received)",
    },
  ),
  ratio(
    quality,
    { part: { plus: ["{basis}_sent"], minus: ["{basis}_pending"] }, whole: { plus: ["{basis}_sent"] } },
    {
      id: "receipt_share",
      title: "With a receipt",
      definition:
        "The share of sent messages of which anything was heard afterwards. Gateways lose receipts, so a low share says that the delivery rate is a lower bound.",
      formula: "(messages_sent − messages_pending) / messages_sent",
    },
  ),
];
