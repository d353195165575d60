import type { Column } from "../../exports/columns.js";
import type { TimeQuality } from "../../sources/canonical-event.js";
import type { Dataset } from "./dataset.js";

/** As they are numbered in the table. */
const timeQualities: readonly TimeQuality[] = ["provider", "gateway", "observed", "inferred"];
const names = timeQualities.map((name) => `'${name}'`).join(", ");

const text = (name: string): Column => ({ name, sql: `e.${name}`, type: "text" });

/** The columns of the `events` dataset, in file order. */
const eventColumns: readonly Column[] = [
  text("account_id"),
  { name: "event_key", sql: "e.event_key", type: "text" },
  { name: "occurred_at", sql: "e.occurred_at", type: "timestamp" },
  { name: "observed_at", sql: "e.observed_at", type: "timestamp" },
  { name: "time_quality", sql: `(array[${names}])[e.time_quality + 1]`, type: "text" },
  ...["type", "message_id", "channel_id", "direction", "chat_id", "chat_kind", "contact_id"].map(text),
  ...["participant_id", "content_kind"].map(text),
  { name: "text_length", sql: "e.text_length", type: "integer" },
  ...["reply_to", "origin", "agent_id", "template", "template_id", "template_language"].map(text),
  ...["template_category", "campaign_id", "error_code", "error_class", "error_title", "source"].map(text),
  { name: "tags", sql: "to_jsonb(e.tags)", type: "json" },
  ...["reaction", "interactive", "pricing", "change"].map(
    (name): Column => ({ name, sql: `e.${name}`, type: "json" }),
  ),
];

const filters = ["type", "channel_id", "direction", "content_kind", "template", "campaign_id"] as const;

/** One row an event, as it was taken in, by the time when it happened. */
export const events: Dataset = {
  columns: eventColumns,
  filters: Object.fromEntries(filters.map((name) => [name, `e.${name}::text`])),
  table: "message_events e",
  accountId: "e.account_id",
  key: ["e.occurred_at", "e.event_key"],
};
