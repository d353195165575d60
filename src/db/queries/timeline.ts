import { type RawBuilder, sql } from "kysely";
import type { Db } from "../client.js";
import { shownReactions, stages, statusOf } from "../fold/message-state.js";

/** A place in a timeline: the anchor to the microsecond, as RFC 3339, whether it is ours, and the message. */
export type TimelinePlace = readonly [at: string, isOutbound: boolean, messageId: string];

export interface TimelinePage {
  accountId: string;
  /** A chat, or the contact of a chat that has no id of its own. */
  chat: string;
  channelId?: string | undefined;
  /** By anchor, [from, to). */
  from?: Date | undefined;
  to?: Date | undefined;
  order: "asc" | "desc";
  after?: TimelinePlace | undefined;
  limit: number;
}

const texts = [
  "channel_id",
  "chat_id",
  "chat_kind",
  "contact_id",
  "direction",
  "content_kind",
  "reply_to",
  "origin",
  "agent_id",
  "template",
  "template_id",
  "template_language",
  "template_category",
  "campaign_id",
  "error_code",
  "error_class",
  "error_title",
] as const;

export type TimelineRow = Record<(typeof texts)[number], string | null> & {
  message_id: string;
  text_length: number | null;
  anchor_at: Date;
  /** The anchor of a `TimelinePlace`. */
  place_at: string;
  /** The microsecond digit of the anchor. */
  time_quality: number;
  status: string;
  reactions: { author: string | null; emoji: string | null; at: number }[];
  /** Every stage by its column. */
  stages: Record<string, Date | null>;
};

type FlatRow = Omit<TimelineRow, "stages"> & Record<string, unknown>;

/** The messages of one conversation. Reads the rows of the page and few others, unless `channelId` leaves many out. */
export async function readTimeline(db: Db, page: TimelinePage): Promise<TimelineRow[]> {
  const { rows } = await timelineStatement(page).execute(db);
  return rows.map((row) => ({
    ...row,
    stages: Object.fromEntries(stages.map(({ column }) => [column, row[column] as Date | null])),
  }));
}

/** Whether any message with a known stage is in the conversation. */
export async function chatExists(db: Db, accountId: string, chat: string): Promise<boolean> {
  const { rows } = await sql`
    select from messages m where ${inChat(accountId, chat)} and m.anchor_at is not null limit 1`.execute(db);
  return rows.length > 0;
}

const inChat = (accountId: string, chat: string) =>
  sql`m.account_id = ${accountId} and coalesce(m.chat_id, m.contact_id) = ${chat}`;

/**
 * Exported so that its plan can be looked at. The order is that of conversations: what the customer wrote comes before an
 * answer at the same time. The index `messages_by_chat` gives the order by anchor; only messages of the same microsecond
 * are sorted. A place narrows the range of the index by its anchor alone, which is why it is there
 * twice.
 */
export function timelineStatement(page: TimelinePage): RawBuilder<FlatRow> {
  const isAscending = page.order === "asc";
  const direction = sql.raw(isAscending ? "asc" : "desc");
  const conditions = [
    inChat(page.accountId, page.chat),
    sql`m.anchor_at is not null`,
    ...(page.from ? [sql`m.anchor_at >= ${page.from.toISOString()}::timestamptz`] : []),
    ...(page.to ? [sql`m.anchor_at < ${page.to.toISOString()}::timestamptz`] : []),
    ...(page.channelId === undefined ? [] : [sql`m.channel_id = ${page.channelId}`]),
    ...(page.after ? [beyond(page.after, isAscending)] : []),
  ];
  const plain = ["message_id", "text_length", "anchor_at", ...texts, ...stages.map(({ column }) => column)];
  return sql<FlatRow>`
    select ${sql.raw(plain.map((name) => `m.${name}`).join(", "))},
           to_char(m.anchor_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as place_at,
           (date_part('microseconds', m.anchor_at)::bigint % 1000)::integer as time_quality,
           ${sql.raw(statusOf("m"))} as status, ${sql.raw(shownReactions("m"))} as reactions
    from messages m
    where ${sql.join(conditions, sql` and `)}
    order by m.anchor_at ${direction}, ${isOutbound} ${direction}, m.message_id ${direction}
    limit ${page.limit}`;
}

const isOutbound = sql`coalesce(m.direction = 'outbound', false)`;

function beyond([at, outbound, messageId]: TimelinePlace, isAscending: boolean): RawBuilder<unknown> {
  const compare = sql.raw(isAscending ? ">" : "<");
  return sql`m.anchor_at ${compare}= ${at}::timestamptz
    and (m.anchor_at, ${isOutbound}, m.message_id) ${compare} (${at}::timestamptz, ${outbound}::boolean, ${messageId})`;
}
