import { counter, type Metric, ratio } from "./metric.js";

const groups = "groups";

export const groupMetrics: readonly Metric[] = [
  counter(groups, "group_attempted", {
    id: "group_messages",
    title: "Group messages",
    definition: "Outbound messages to groups; each counts once, however many receive it.",
    formula: "outbound, chat_kind = group",
  }),
  counter(groups, "group_delivered_to_all", {
    id: "group_messages_delivered_to_all",
    title: "Delivered to all",
    definition: "Group messages delivered to every recipient of whom a receipt is known.",
    formula: "recipients delivered = recipients known",
  }),
  counter(groups, "{basis}_group_delivered", {
    id: "group_messages_delivered",
    title: "Delivered to one at least",
    definition: "Group messages delivered to one recipient at least.",
    formula: "outbound, chat_kind = group, delivered, read or played",
  }),
  counter(groups, "recipients", {
    id: "group_recipients",
    unit: "recipients",
    title: "Recipients",
    definition: "Recipients of group messages of whom any receipt is known.",
    formula: "Σ participants with a receipt",
  }),
  ratio(
    groups,
    { part: { plus: ["recipients_delivered"] }, whole: { plus: ["recipients"] } },
    {
      id: "group_delivered_share",
      title: "Share of recipients reached",
      definition: "The share of the known recipients of group messages that they were delivered to.",
      formula: "recipients with delivered, read or played / recipients",
    },
  ),
  ratio(
    groups,
    { part: { plus: ["recipients_read"] }, whole: { plus: ["recipients"] } },
    {
      id: "group_read_share",
      title: "Share of recipients who read",
      definition: "The share of the known recipients of group messages that read them.",
      formula: "recipients with read or played / recipients",
    },
  ),
];
