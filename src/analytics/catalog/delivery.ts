import { counter, durationMetrics, type Metric, ratio } from "./metric.js";

const delivery = "delivery";

export const deliveryMetrics: readonly Metric[] = [
  counter(delivery, "attempted", {
    id: "messages_attempted",
    title: "Attempted",
    definition: "Outbound messages of which any stage is known.",
    formula: "outbound, any stage",
  }),
  counter(delivery, "{basis}_sent", {
    id: "messages_sent",
    title: "Sent",
    definition: "Outbound messages that were sent, or reached a later stage.",
    formula: "sent, delivered, read or played",
  }),
  counter(delivery, "{basis}_delivered", {
    id: "messages_delivered",
    title: "Delivered",
    definition:
      "Outbound messages that were delivered, or reached a later stage; in a group to one recipient at least.",
    formula: "delivered, read or played",
  }),
  counter(delivery, "{basis}_read", {
    id: "messages_read",
    title: "Read",
    definition:
      "Outbound messages that were read or played. Recipients who turned read receipts off do not show.",
    formula: "read or played",
  }),
  counter(delivery, "{basis}_played", {
    id: "messages_played",
    title: "Played",
    definition: "Outbound messages that were played, as voice messages are.",
    formula: "played",
  }),
  counter(delivery, "{basis}_failed", {
    id: "messages_failed",
    title: "Failed",
    definition:
      "Outbound messages that failed and of which nothing says that they arrived; in a group for every known recipient.",
    formula: "failed and neither delivered, read nor played",
  }),
  counter(delivery, "{basis}_received", {
    id: "messages_received",
    title: "Received",
    definition: "Inbound messages.",
    formula: "inbound, received",
  }),
  counter(delivery, "{basis}_pending", {
    id: "messages_pending",
    title: "Pending",
    definition: "Outbound messages that were sent and of which nothing more is known.",
    formula: "sent and neither delivered, read, played nor failed",
  }),
  ratio(
    delivery,
    { part: { plus: ["{basis}_delivered"] }, whole: { plus: ["{basis}_sent"] }, withoutGroups: true },
    {
      id: "delivery_rate",
      title: "Delivery rate",
      definition: "The share of sent messages that arrived.",
      formula: "messages_delivered / messages_sent",
    },
  ),
  ratio(
    delivery,
    {
      part: { plus: ["{basis}_delivered"] },
      whole: { plus: ["{basis}_delivered", "{basis}_failed"] },
      withoutGroups: true,
    },
    {
      id: "success_rate",
      title: "Success rate",
      definition:
        "The share of messages with an outcome that arrived; what is pending counts on neither side.",
      formula: "messages_delivered / (messages_delivered + messages_failed)",
    },
  ),
  ratio(
    delivery,
    { part: { plus: ["{basis}_failed"] }, whole: { plus: ["attempted"] }, withoutGroups: true },
    {
      id: "failure_rate",
      title: "Failure rate",
      definition: "The share of attempted messages that failed.",
      formula: "messages_failed / messages_attempted",
    },
  ),
  ratio(
    delivery,
    { part: { plus: ["{basis}_read"] }, whole: { plus: ["{basis}_delivered"] }, withoutGroups: true },
    {
      id: "read_rate",
      title: "Read rate",
      definition:
        "The share of delivered messages that were read; a lower bound, since read receipts can be turned off.",
      formula: "messages_read / messages_delivered",
    },
  ),
  ...[
    { duration: "send", from: "queued", to: "sent" },
    { duration: "deliver", from: "sent", to: "delivered" },
    { duration: "read", from: "delivered", to: "read" },
  ].flatMap(({ duration, from, to }) =>
    durationMetrics(delivery, `{basis}_${duration}_ms`, {
      id: `time_to_${duration}`,
      title: `Time to ${duration}`,
      way: `from ${from} to ${to}`,
      formula: `${to}_at − ${from}_at`,
    }),
  ),
];
