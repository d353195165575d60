import type { Column } from "../../exports/columns.js";
import type { Dataset } from "./dataset.js";

const seconds = (name: string, milliseconds: string): Column => ({
  name,
  sql: `${milliseconds} / 1000.0::float8`,
  type: "number",
});
const text = (name: string): Column => ({ name, sql: `c.${name}`, type: "text" });
const lasted = "(extract(epoch from c.ended_at - c.started_at) * 1000)::float8";

/** The columns of the `conversations` dataset, in file order. Durations are in seconds. */
const conversationColumns: readonly Column[] = [
  ...["account_id", "chat_id", "channel_id", "chat_kind", "contact_id"].map(text),
  { name: "started_at", sql: "c.started_at", type: "timestamp" },
  { name: "ended_at", sql: "c.ended_at", type: "timestamp" },
  text("started_by"),
  { name: "inbound", sql: "c.inbound", type: "integer" },
  { name: "outbound", sql: "c.outbound", type: "integer" },
  seconds("duration_seconds", lasted),
  { name: "outcome", sql: "c.human_outcome", type: "text" },
  { name: "outcome_any", sql: "c.any_outcome", type: "text" },
  seconds("waiting_seconds", "c.human_waiting_elapsed_ms"),
  seconds("waiting_business_seconds", "c.human_waiting_business_ms"),
  seconds("waiting_any_seconds", "c.any_waiting_elapsed_ms"),
  seconds("waiting_any_business_seconds", "c.any_waiting_business_ms"),
  { name: "steps", sql: "to_jsonb(c.steps)", type: "json" },
];

/** One row a conversation, by its start. `…_any`: automatic replies count too; else only those of people do. */
export const conversations: Dataset = {
  columns: conversationColumns,
  filters: Object.fromEntries(
    ["channel_id", "started_by", "chat_kind"].map((name) => [name, `c.${name}::text`]),
  ),
  table: "conversations c",
  accountId: "c.account_id",
  key: ["c.started_at", "c.chat_key"],
};
