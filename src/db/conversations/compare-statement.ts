import { attributedSql } from "./attribution-statement.js";
import { conversationTables, freshSql } from "./conversation-statement.js";

/** Rows of a table that differ from what was read anew, by the key of their chat and the beginning of their conversation. */
function differingSql({ table, keys, columns, startedAt }: (typeof conversationTables)[number]): string {
  const rest = columns.filter((name) => !(keys as readonly string[]).includes(name));
  const row = (relation: string) => rest.map((name) => `${relation}.${name}`).join(", ");
  return `
select '${table}' as kind, chat_key, ${startedAt} as at
from fresh_${table} f full join old_${table} o using (${keys.join(", ")})
where f.chat_key is null or o.chat_key is null or (${row("f")}) is distinct from (${row("o")})`;
}

/**
 * How many conversations and turns of stretches are not those of their messages, by stretch (`n`) and table. What waits to
 * be read is no difference: that of a mark, widened to the conversations it touches. Parameters of `freshSql`, `$13` and
 * `$14` the range of beginnings. It only reads.
 */
export const compareSql = `
with ${freshSql},
waiting as materialized (
  select s.n, least(m.from_at, touched.started_at) as from_at, greatest(m.to_at, touched.ended_at) as to_at
  from stretches s
  cross join lateral (
    select from_at, to_at from conversation_marks m
    where m.account_id = $1 and m.chat_key = s.chat_key
      and m.month = date_trunc('month', s.to_at at time zone 'UTC')::date
    limit 1
  ) m
  cross join lateral (
    select min(c.started_at) as started_at, max(c.ended_at) as ended_at
    from old_conversations c
    where c.chat_key = s.chat_key and c.started_at between s.from_at and s.to_at
      and c.started_at <= m.to_at + $5::float8 * interval '1 millisecond'
      and c.ended_at >= m.from_at - $5::float8 * interval '1 millisecond'
  ) touched
),
differing as (${conversationTables.map(differingSql).join("\nunion all")})
select s.n, d.kind, count(*)::integer as rows
from differing d
join stretches s on s.chat_key = d.chat_key and d.at between s.from_at and s.to_at
left join waiting w on w.n = s.n
where (w.n is null or d.at < w.from_at or d.at > w.to_at) and d.at >= $13::timestamptz and d.at < $14::timestamptz
group by s.n, d.kind`;

/**
 * How many outbound messages of stretches say another time of their answer than the chat does. Parameters of
 * `attributedSql`, `$7` the keys of the chats, `$8` and `$9` the range. An answer that waits to be read comes within the
 * reply window.
 */
export const compareAnswersSql = `
with ${attributedSql("n, at, message_id, reach")}
select a.n, 'answers' as kind, count(*)::integer as rows
from attributed a join stretches s using (n)
where a.answered_at is distinct from a.now_answered_at and a.at between s.from_at and s.to_at
  and a.at >= $8::timestamptz and a.at < $9::timestamptz
  and not exists (
    select from conversation_marks m
    where m.account_id = $1 and m.chat_key = ($7::uuid[])[a.n]
      and a.at >= m.from_at - a.reach and a.at <= m.to_at
  )
group by a.n`;
