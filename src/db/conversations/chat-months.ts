import { CompiledQuery, type Kysely } from "kysely";
import type { Database } from "../schema.js";
import { chatKey, chatOf } from "./conversation-statement.js";
import type { Stretch } from "./rebuild.js";

/** The conversations of a chat that begin in a month: they depend on its messages of that month alone. */
export interface ChatMonth {
  chat_key: string;
  chat_id: string | null;
  channel_id: string | null;
  month: Date;
  /** How many it has, if it is known. */
  messages: number;
}

/** A few of them, and where the next ones begin; undefined at the end. */
export interface ChatMonths {
  months: ChatMonth[];
  rows: number;
  next: Cursor | undefined;
}

/** Of messages the chat and an instant, of conversations and turns the key of the chat and a beginning. */
export type Cursor = readonly [string, Date | "-infinity"];

export interface MonthRange {
  from?: Date | undefined;
  to?: Date | undefined;
}

type Find = (
  db: Kysely<Database>,
  accountId: string,
  range: MonthRange,
  /** null: from the beginning. */
  cursor: Cursor | null,
  limit: number,
) => Promise<ChatMonths>;

const monthOf = (time: string) => `date_trunc('month', ${time}, 'UTC')`;
const endOfMonth = (time: string) =>
  `(date_trunc('month', ${time} at time zone 'UTC') + interval '1 month') at time zone 'UTC'`;

/** Whole months (UTC) that the range `$2`, `$3` touches, as far as the account keeps messages. */
const isWithin = (time: string) => `${time} >= ${monthOf("$2::timestamptz")}
      and ${time} < ${endOfMonth("($3::timestamptz - interval '1 microsecond')")}
      and ${time} >= coalesce((select messages_from from accounts where account_id = $1), '-infinity')`;

const bounds = ({ from, to }: MonthRange) => [from ?? "-infinity", to ?? "infinity"];

/**
 * Messages in the order of the index of chats; exported so that its plan can be looked at. Parameters `$4` and `$5`: where
 * to begin, `$6`: how many are read. The range is looked at afterwards: a planner that knew of it would take another index.
 */
export const byMessagesSql = `
select chat_id, channel_id, ${monthOf("anchor_at")} as month, ${chatKey("chat_id", "channel_id")} as chat_key,
       count(*)::integer as rows, (count(*) filter (where ${isWithin("anchor_at")}))::integer as messages
from (
  select ${chatOf("m")} as chat_id, m.channel_id, m.anchor_at
  from messages m
  where m.account_id = $1 and (${chatOf("m")}, m.anchor_at) >= ($4::text, $5::timestamptz)
  order by ${chatOf("m")}, m.anchor_at limit $6
) next
group by chat_id, channel_id, month
order by chat_id, month`;

/** The same of one month of one chat, however many it has. */
const wholeMonthSql = `
select chat_id, channel_id, $5::timestamptz as month, ${chatKey("chat_id", "channel_id")} as chat_key,
       count(*)::integer as rows, (count(*) filter (where ${isWithin("anchor_at")}))::integer as messages
from (
  select ${chatOf("m")} as chat_id, m.channel_id, m.anchor_at
  from messages m
  where m.account_id = $1 and ${chatOf("m")} = $4 and m.anchor_at >= $5 and m.anchor_at < ${endOfMonth("$5::timestamptz")}
) whole
group by chat_id, channel_id`;

const monthAfter = (month: Date) => new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1));

/** The next months of chats that have messages, whole ones, of about so many messages. */
export const findByMessages: Find = async (db, accountId, range, cursor, limit) => {
  const run = async (text: string, more: unknown[]) => {
    const query = CompiledQuery.raw(text, [accountId, ...bounds(range), ...more]);
    return (await db.executeQuery<ChatMonth & { rows: number }>(query)).rows;
  };
  const read = (found: (ChatMonth & { rows: number })[], next: Cursor | undefined): ChatMonths => ({
    months: found.filter((one) => one.messages > 0),
    rows: found.reduce((sum, one) => sum + one.rows, 0),
    next,
  });
  const found = await run(byMessagesSql, [...(cursor ?? ["", "-infinity"]), limit]);
  const last = found.at(-1);
  const all = read(found, undefined);
  if (!last || all.rows < limit) return all;
  const { chat_id: chat, month } = last;
  // The last one may have been cut off.
  const whole = found.filter((one) => one.chat_id !== chat || one.month.getTime() !== month.getTime());
  return whole.length > 0
    ? read(whole, [chat!, month])
    : read(await run(wholeMonthSql, [chat, month]), [chat!, monthAfter(month)]);
};

const LEAST_UUID = "00000000-0000-0000-0000-000000000000";

/** The next rows that may have outlived their messages, and the months of those that have. */
const orphansSql = (rows: string, isOrphan: string) => `
with next as materialized (${rows}),
orphans as (
  select distinct chat_key, ${monthOf("at")} as month from next where ${isWithin("at")} and ${isOrphan}
)
select o.*, met.*
from (
  select count(*)::integer as rows, (array_agg(chat_key order by chat_key desc, at desc))[1] as last_key,
         (array_agg(at order by chat_key desc, at desc))[1] as last_at
  from next
) met
left join orphans o on true`;

const findOrphans =
  (text: string): Find =>
  async (db, accountId, range, cursor, limit) => {
    const parameters = [accountId, ...bounds(range), ...(cursor ?? [LEAST_UUID, "-infinity"]), limit];
    const { rows: found } = await db.executeQuery<{
      chat_key: string | null;
      month: Date;
      rows: number;
      last_key: string;
      last_at: Date;
    }>(CompiledQuery.raw(text, parameters));
    const { rows, last_key, last_at } = found[0]!;
    const months = found.flatMap(({ chat_key, month }) =>
      chat_key === null ? [] : [{ chat_key, chat_id: null, channel_id: null, month, messages: 0 }],
    );
    return { months, rows, next: rows < limit ? undefined : [last_key, last_at] };
  };

/** Months of chats with conversations and no message. */
export const findByConversations = findOrphans(
  orphansSql(
    `
  select chat_key, started_at as at, chat_id, channel_id from conversations
  where account_id = $1 and (chat_key, started_at) > ($4::uuid, $5::timestamptz)
  order by chat_key, started_at limit $6`,
    `(chat_key <> ${chatKey("chat_id", "channel_id")} or not exists (
      select from messages m
      where m.account_id = $1 and ${chatOf("m")} = next.chat_id and m.channel_id is not distinct from next.channel_id
        and m.anchor_at >= ${monthOf("at")} and m.anchor_at < ${endOfMonth("at")}
        and ${isWithin("m.anchor_at")}
    ))`,
  ),
);

/** Months of chats with turns of no conversation. */
export const findByTurns = findOrphans(
  orphansSql(
    `
  select chat_key, conversation_started_at as at from conversation_turns
  where account_id = $1 and (chat_key, conversation_started_at) > ($4::uuid, $5::timestamptz)
  order by chat_key, conversation_started_at fetch first ($6) rows with ties`,
    `not exists (
      select from conversations c
      where c.account_id = $1 and c.chat_key = next.chat_key and c.started_at = at
    )`,
  ),
);

export type Found = ChatMonth & Stretch;

/**
 * The stretches of months. Conversations that began before the floor of messages stay as they are: what is read begins after
 * they end.
 */
export async function stretchesOf(
  db: Kysely<Database>,
  accountId: string,
  months: readonly ChatMonth[],
): Promise<Found[]> {
  const text = `
select found.*, month_to - interval '1 millisecond' as to_at,
       greatest(month, floor.at) as from_at,
       greatest(month, floor.at, lies_across.ended_at + interval '1 millisecond') as read_from
from unnest($2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::integer[])
  as found(chat_key, chat_id, channel_id, month, messages)
cross join (select coalesce(messages_from, '-infinity') as at from accounts where account_id = $1) floor
cross join lateral (select ${endOfMonth("month")} as month_to) ends
left join lateral (
  select max(c.ended_at) as ended_at from conversations c
  where c.account_id = $1 and c.chat_key = found.chat_key and c.started_at >= ${monthOf("floor.at")}
    and c.started_at < floor.at and c.ended_at >= floor.at
) lies_across on month < floor.at
where floor.at < month_to`;
  const parameters = [
    accountId,
    months.map((one) => one.chat_key),
    months.map((one) => one.chat_id),
    months.map((one) => one.channel_id),
    months.map((one) => one.month),
    months.map((one) => one.messages),
  ];
  return (await db.executeQuery<Found>(CompiledQuery.raw(text, parameters))).rows;
}
