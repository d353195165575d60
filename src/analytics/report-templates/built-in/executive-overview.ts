import { define } from "./define.js";

export const executiveOverview = define({
  name: "executive-overview",
  title: "Executive overview",
  description: "The figures that matter on one page, each beside that of the period before.",
  sections: [
    {
      ...{ kind: "comparison", id: "delivery", title: "Delivery" },
      metrics: [
        ...["messages_sent", "messages_delivered", "messages_received"],
        ...["delivery_rate", "read_rate", "failure_rate", "time_to_deliver_p95"],
      ],
    },
    {
      ...{ kind: "comparison", id: "engagement", title: "Engagement" },
      metrics: ["messages_engaged", "engagement_rate", "reply_rate", "click_rate"],
    },
    {
      ...{ kind: "comparison", id: "conversations", title: "Conversations and response times" },
      metrics: [
        ...["conversations", "response_rate", "sla_rate"],
        ...["first_response_time_p50", "reply_time_p50", "reply_time_p90"],
      ],
    },
    {
      ...{ kind: "comparison", id: "contacts", title: "Contacts" },
      metrics: ["active_contacts", "new_contacts", "returning_contacts"],
    },
    {
      ...{ kind: "table", id: "by_{interval}", title: "Messages by {interval}", interval: "requested" },
      metrics: [
        ...["messages_sent", "messages_delivered", "messages_read", "messages_failed", "messages_received"],
        ...["delivery_rate", "read_rate"],
      ],
      chart: { metrics: ["messages_sent", "messages_delivered", "messages_read", "messages_received"] },
    },
    {
      ...{
        kind: "table",
        id: "top_templates",
        title: "Templates that are sent most",
        group_by: ["template"],
      },
      metrics: ["messages_sent", "delivery_rate", "read_rate", "reply_rate", "failure_rate"],
      unknown: "hide",
      order: { by: "messages_sent" },
      limit: 10,
      chart: { metrics: ["messages_sent", "read_rate"] },
    },
    {
      ...{
        kind: "table",
        id: "failures_by_error_class",
        title: "Why messages fail",
        group_by: ["error_class"],
      },
      description: "A rate here is a class's part of the failure rate above.",
      metrics: ["messages_failed", "failure_rate"],
      ratios: "of_all",
      unknown: "hide",
      order: { by: "messages_failed" },
      limit: 20,
      chart: { metrics: ["messages_failed"] },
    },
    { kind: "heatmap", id: "received_by_hour", title: "When customers write", metric: "messages_received" },
  ],
});
