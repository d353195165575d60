import { define } from "./define.js";

const rates = ["read_rate", "reply_rate", "click_rate", "reaction_rate", "engagement_rate"];
const counts = [
  "messages_delivered",
  "messages_read",
  "messages_replied",
  "messages_clicked",
  "messages_reacted",
];
const metrics = [...counts, "messages_engaged", ...rates];

export const engagementSummary = define({
  name: "engagement-summary",
  title: "Engagement summary",
  description: "What people did with the messages that reached them, who wrote and when, and who opted out.",
  sections: [
    {
      ...{ kind: "comparison", id: "headline", title: "Engagement beside the period before" },
      metrics: ["messages_delivered", "messages_engaged", ...rates],
    },
    {
      ...{ kind: "table", id: "by_{interval}", title: "By {interval}", interval: "requested", metrics },
      chart: { metrics: rates },
    },
    {
      ...{ kind: "table", id: "by_{dimension}", title: "By {dimension}", group_by: "requested", metrics },
      order: { by: "messages_delivered" },
      limit: 1_000,
      chart: { metrics: ["messages_delivered", "read_rate", "reply_rate"] },
    },
    {
      ...{
        kind: "table",
        id: "by_content_kind",
        title: "By kind of content",
        group_by: ["content_kind"],
        metrics,
      },
      filters: { direction: ["outbound"] },
      order: { by: "messages_delivered" },
      limit: 100,
      chart: { metrics: ["engagement_rate"] },
    },
    {
      ...{
        kind: "table",
        id: "contacts_by_{interval}",
        title: "Contacts by {interval}",
        interval: "requested",
      },
      description: "A contact counts once in each row, however often it wrote, so rows do not add up.",
      metrics: ["active_contacts", "new_contacts", "returning_contacts"],
    },
    {
      ...{ kind: "comparison", id: "contacts", title: "Contacts beside the period before" },
      metrics: ["active_contacts", "new_contacts", "returning_contacts"],
    },
    {
      ...{ kind: "table", id: "preferences_by_{interval}", title: "Opt-outs and opt-ins by {interval}" },
      interval: "requested",
      metrics: ["opt_outs", "opt_ins", "opt_out_rate"],
    },
    { kind: "heatmap", id: "received_by_hour", title: "When customers write", metric: "messages_received" },
  ],
});
