import { prepared } from "../prepared.js";
import { appendDeltasSql, appendedRows } from "../rollups/append.js";
import { contributingColumns, messageDeltasSql, messageRollups } from "../rollups/messages.js";
import { chatOf, inOrder, isSpoken } from "./conversation-statement.js";

const unchanged = contributingColumns.filter((name) => name !== "answered_at");

/**
 * Common table expressions that say when the customer answered outbound messages without naming them: `attributed` has
 * `answered_at` and `now_answered_at` beside the columns that are asked for, of `n`, the number of the stretch, `at` and
 * `message_id`. It is the next message of the chat, if it is inbound and comes within the reply window. What turned out to
 * have failed, or to be no outbound message, loses its answer. Parameters: `$1` account, `$2` and `$3` the stretches, `$4`
 * and `$5` the chats' ids and channels in step with them, `$6` the reply window in ms. Messages up to a window before a
 * stretch may have got their answer in it; those after it are looked at only as answers.
 */
export const attributedSql = (columns: string): string => `
stretches as materialized (
  select n::integer as n, from_at, to_at, chat_id, channel_id, $6::float8 * interval '1 millisecond' as reach
  from unnest($2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
    with ordinality as s(from_at, to_at, chat_id, channel_id, n)
),
near as (
  select s.n, s.to_at, s.reach, m.*
  from stretches s cross join lateral (
    select date_trunc('milliseconds', m.anchor_at) as at, m.message_id, m.direction, m.answered_at,
           ${isSpoken("m")} as is_spoken
    from messages m
    where m.account_id = $1 and ${chatOf("m")} = s.chat_id and m.anchor_at >= s.from_at - s.reach
      and m.anchor_at < s.to_at + s.reach + interval '1 millisecond'
      and m.channel_id is not distinct from s.channel_id
  ) m
),
followed as (
  select *, lead(at) over w as next_at, lead(direction) over w as next_direction
  from near where is_spoken window w as (partition by n order by ${inOrder("near")})
),
attributed as (
  select ${columns}, answered_at,
         case when next_direction = 'inbound' and next_at - at <= reach then next_at end as now_answered_at
  from followed where direction = 'outbound' and at <= to_at
  union
  select ${columns}, answered_at, null
  from near where is_spoken is not true or direction <> 'outbound'
)`;

/** Writes what `attributedSql` finds. What changes goes to the rollups of messages. */
export const attributionSql = prepared(`
with ${attributedSql("message_id")},
changed as materialized (
  select a.message_id, a.now_answered_at, m.*
  from attributed a cross join lateral (
    select ${contributingColumns.join(", ")} from messages m
    where m.account_id = $1 and m.message_id = a.message_id limit 1
  ) m
  where a.answered_at is distinct from a.now_answered_at
),
messages_updated as (
  update messages m set answered_at = c.now_answered_at
  from changed c where m.account_id = $1 and m.message_id = c.message_id
),
states as (
  select 1 as sign, now_answered_at as answered_at, ${unchanged.join(", ")} from changed
  union all
  select -1, answered_at, ${unchanged.join(", ")} from changed
),
preferences as (
  select 1 as sign, null::timestamptz as occurred_at, false as is_opt_out, null::text as channel_id where false
),${messageDeltasSql("states", "preferences")},${appendDeltasSql(messageRollups)}
select (select count(*)::integer from changed) as messages, ${appendedRows(messageRollups)} as deltas`);
