import { define } from "./define.js";

const metrics = [
  "messages_attempted",
  "messages_delivered",
  "messages_read",
  "messages_replied",
  "messages_clicked",
  "delivery_rate",
  "read_rate",
  "reply_rate",
  "click_rate",
  "engagement_rate",
  "failure_rate",
  "time_to_deliver_p50",
  "time_to_read_p50",
];
const ranking = {
  kind: "table" as const,
  metrics,
  unknown: "hide" as const,
  order: { by: "messages_attempted" },
};

export const templatePerformance = define({
  name: "template-performance",
  title: "Template performance",
  description:
    "Message templates and campaigns against each other: from the attempt to the reply and the click.",
  sections: [
    {
      ...{ ...ranking, id: "by_template", title: "By template", group_by: ["template"], limit: 1_000 },
      chart: { metrics: ["messages_attempted", "read_rate", "reply_rate"] },
    },
    {
      ...{ ...ranking, id: "by_campaign_id", title: "By campaign", group_by: ["campaign_id"], limit: 1_000 },
      chart: { metrics: ["messages_attempted", "read_rate", "reply_rate"] },
    },
    {
      ...{ ...ranking, id: "by_template_and_channel", title: "By template and channel", limit: 1_000 },
      group_by: ["template", "channel_id"],
    },
    {
      ...{
        kind: "table",
        id: "failures",
        title: "Why templates fail",
        group_by: ["template", "error_class"],
      },
      metrics: ["messages_failed"],
      unknown: "hide",
      order: { by: "messages_failed" },
      limit: 200,
    },
    {
      ...{ kind: "table", id: "by_template_and_{interval}", title: "By template and {interval}" },
      ...{ interval: "requested", group_by: ["template"], unknown: "hide" },
      metrics: [
        "messages_attempted",
        "messages_delivered",
        "messages_read",
        "messages_replied",
        "messages_failed",
      ],
    },
  ],
});
