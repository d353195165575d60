import type { MessageColumnName } from "../../analytics/report-templates/message-columns.js";
import type { Column } from "../../exports/columns.js";
import { isFailed, statusOf } from "../fold/message-state.js";
import { dimensions } from "../rollups/messages.js";
import type { Dataset } from "./dataset.js";

/** The columns of the `messages` dataset and of the message log, in file order. */
export const messageColumns: readonly (Column & { name: MessageColumnName })[] = [
  { name: "account_id", sql: "m.account_id", type: "text" },
  { name: "message_id", sql: "m.message_id", type: "text" },
  { name: "channel_id", sql: "m.channel_id", type: "text" },
  { name: "chat_id", sql: "m.chat_id", type: "text" },
  { name: "contact_id", sql: "m.contact_id", type: "text" },
  { name: "direction", sql: "m.direction", type: "text" },
  { name: "content_kind", sql: "m.content_kind", type: "text" },
  { name: "template", sql: "m.template", type: "text" },
  { name: "campaign_id", sql: "m.campaign_id", type: "text" },
  { name: "queued_at", sql: "m.queued_at", type: "timestamp" },
  { name: "sent_at", sql: "m.sent_at", type: "timestamp" },
  { name: "delivered_at", sql: "m.delivered_at", type: "timestamp" },
  { name: "read_at", sql: "m.read_at", type: "timestamp" },
  { name: "played_at", sql: "m.played_at", type: "timestamp" },
  { name: "failed_at", sql: "m.failed_at", type: "timestamp" },
  { name: "received_at", sql: "m.received_at", type: "timestamp" },
  { name: "error_code", sql: "m.error_code", type: "text" },
  { name: "error_class", sql: "m.error_class", type: "text" },
  { name: "status", sql: statusOf("m"), type: "text" },
  { name: "updated_at", sql: "m.updated_at", type: "timestamp" },
];

/** As in the metrics, an error is a message's dimension only where it counts as failed. */
const failedOnly = (column: string) => `case when ${isFailed("m")} then m.${column} end`;
const filtered = (name: string): string =>
  name === "error_class" || name === "error_code" ? failedOnly(name) : `m.${name}`;

/** One row a message, by its anchor. */
export const messages: Dataset = {
  columns: messageColumns,
  filters: Object.fromEntries(dimensions.map((name) => [name, `${filtered(name)}::text`])),
  table: "messages m",
  accountId: "m.account_id",
  key: ["m.anchor_at", "m.message_id"],
};
