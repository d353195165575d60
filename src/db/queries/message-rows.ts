import { CompiledQuery } from "kysely";
import pg from "pg";
import type { Column } from "../../exports/columns.js";
import type { Db } from "../client.js";
import { isFailed, statusOf } from "../fold/message-state.js";
import { type Dimension, dimensions } from "../rollups/messages.js";

/** The columns of the `messages` dataset and of the message log, in file order. */
export const messageColumns: readonly Column[] = [
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

export interface MessageSelection {
  accountId: string;
  /** By anchor, [from, to). */
  from: Date;
  to: Date;
  filters: { readonly [Name in Dimension]?: readonly (string | null)[] };
}

/**
 * `FROM … WHERE …` of the selected messages, as text, since COPY takes no parameters: every value goes through the
 * driver's literal quoting. Reads one index range; `ORDER BY` follows that index, so nothing is sorted.
 */
export function messagesFrom(selection: MessageSelection, options: { ordered: boolean }): string {
  const literal = pg.escapeLiteral;
  const conditions = [
    `m.account_id = ${literal(selection.accountId)}`,
    `m.anchor_at >= ${literal(selection.from.toISOString())}::timestamptz`,
    `m.anchor_at < ${literal(selection.to.toISOString())}::timestamptz`,
    ...dimensions.flatMap((name) => {
      const values = selection.filters[name];
      if (!values) return [];
      const known = values.filter((value) => value !== null).map(literal);
      return [
        `(${[
          ...(known.length > 0 ? [`${shown[name] ?? `m.${name}`}::text in (${known.join(", ")})`] : []),
          ...(values.includes(null) ? [`${shown[name] ?? `m.${name}`} is null`] : []),
        ].join(" or ")})`,
      ];
    }),
  ];
  const order = options.ordered ? " order by m.account_id, m.anchor_at, m.message_id" : "";
  return `from messages m where ${conditions.join(" and ")}${order}`;
}

/** As in the metrics, an error is a message's dimension only where it counts as failed. */
const failedOnly = (column: string) => `case when ${isFailed("m")} then m.${column} end`;
const shown: { readonly [Name in Dimension]?: string } = {
  error_class: failedOnly("error_class"),
  error_code: failedOnly("error_code"),
};

export async function countMessages(db: Db, selection: MessageSelection): Promise<number> {
  const result = await db.executeQuery<{ count: number }>(
    CompiledQuery.raw(`select count(*) as count ${messagesFrom(selection, { ordered: false })}`),
  );
  return result.rows[0]!.count;
}
