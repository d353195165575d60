import { define } from "./define.js";

const outcomes = [
  "conversations",
  "conversations_answered",
  "conversations_unanswered",
  "conversations_abandoned",
  "conversations_no_reply",
];
const answers = ["response_rate", "sla_rate", "first_response_time_p50", "reply_time_p50", "reply_time_p90"];

export const conversationFlow = define({
  name: "conversation-flow",
  title: "Conversation flow",
  description:
    "How conversations begin, which ways they take and how they end, and how soon customers were answered.",
  sections: [
    {
      ...{ kind: "comparison", id: "headline", title: "Conversations beside the period before" },
      metrics: [...outcomes, "conversation_depth", "conversation_turns", ...answers],
    },
    {
      ...{ kind: "table", id: "by_{interval}", title: "By {interval}", interval: "requested" },
      metrics: [...outcomes, "turns", ...answers],
      chart: {
        metrics: ["conversations", "conversations_answered", "conversations_unanswered", "reply_time_p50"],
      },
    },
    {
      ...{ kind: "flow", id: "flow", title: "The ways that conversations take" },
      description:
        "Each step is a message: in from the customer, out from the business, a button, or a template by name.",
    },
    {
      ...{ kind: "table", id: "by_started_by", title: "By who began", group_by: ["started_by"] },
      metrics: [...outcomes, "conversation_depth", "conversation_duration_p50", "waiting_time_p50"],
    },
    {
      ...{ kind: "table", id: "by_agent_id", title: "By agent", group_by: ["agent_id"] },
      description:
        "Turns of the customer by the agent who answered; those that nobody answered have no agent.",
      metrics: ["turns", "turns_answered", ...answers],
      order: { by: "turns" },
      limit: 1_000,
      chart: { metrics: ["turns_answered", "reply_time_p50"] },
    },
    { kind: "heatmap", id: "turns_by_hour", title: "When customers wait for an answer", metric: "turns" },
    {
      kind: "heatmap",
      id: "reply_time_by_hour",
      title: "Median reply time by hour",
      metric: "reply_time_p50",
    },
  ],
});
