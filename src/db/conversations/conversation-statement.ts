import { isFailed } from "../fold/message-state.js";
import { prepared } from "../prepared.js";
import { appendDeltasSql, appendedRows } from "../rollups/append.js";
import {
  conversationColumns,
  conversationDeltasSql,
  conversationRollups,
  turnColumns,
} from "../rollups/conversations.js";
import { flowDeltasSql } from "./flow-edges.js";

/** Steps kept of a conversation: what comes after them is not told apart. */
export const MAX_STEPS = 20;
const STEP_LENGTH = 200;

/** The chat that a message belongs to; the expression of the index `messages_by_chat`. */
export const chatOf = (row: string): string => `coalesce(${row}.chat_id, ${row}.contact_id)`;

/** One key for chat and channel: the same contact on two channels is two conversations. */
export const chatKey = (chat: string, channel: string): string => `md5(row(${chat}, ${channel})::text)::uuid`;
export const chatKeyOf = (row: string): string => chatKey(chatOf(row), `${row}.channel_id`);

/** Whether a message is part of a conversation: what never left us answers nobody. */
export const isSpoken = (row: string): string =>
  `(${row}.direction = 'inbound' or ${row}.direction = 'outbound' and not ${isFailed(row)})`;

/** Whether nobody typed it. An unknown origin counts as a person. */
export const isAutomatic = (row: string): string =>
  `coalesce(${row}.origin in ('bot', 'automation', 'campaign'), false)`;

/**
 * The order of a conversation. WhatsApp tells whole seconds, so a question and what answers it at once often share a time:
 * of equal times the customer's message comes first. Between those of one side the id decides, which says nothing.
 */
export const inOrder = (row: string): string =>
  `${row}.at, ${row}.direction = 'outbound', ${row}.message_id collate "C"`;

/** What a message is in the flow: the button that was chosen, the template that was sent, else the kind of content. */
const stepOf = (row: string): string => `left(case
         when ${row}.direction = 'inbound' then
           case when ${row}.interactive is not null
             then 'button:' || coalesce(${row}.interactive ->> 'id', ${row}.interactive ->> 'title', ${row}.interactive ->> 'kind', '')
             else 'in:' || coalesce(${row}.content_kind, '') end
         when ${row}.template is not null then 'template:' || ${row}.template
         else 'out:' || coalesce(${row}.content_kind, '') end, ${STEP_LENGTH})`;

const msBetween = (from: string, to: string) => `round(date_part('epoch', ${to} - ${from}) * 1000)::bigint`;

/** Open milliseconds up to an instant, from the arrays of `openHoursArrays` in $8 to $10; null without a calendar. */
const openUpTo = (time: string) => `(
      select case when i > 0
        then ($10::float8[])[i] + least(date_part('epoch', ${time} - ($8::timestamptz[])[i]) * 1000, ($9::float8[])[i])
        else 0 end
      from width_bucket(${time}, $8::timestamptz[]) as i)`;
const openMs = (from: string, to: string) =>
  `case when $8::timestamptz[] is not null and ${to} is not null
         then greatest(0, round(${openUpTo(to)} - ${openUpTo(from)}))::bigint end`;

const shownColumns = ["chat_id", "chat_kind", "contact_id", "steps"];

/** What a stretch consists of: tables, their keys after the account, and their columns. */
export const conversationTables = [
  {
    table: "conversations",
    keys: ["chat_key", "started_at"],
    columns: [...conversationColumns, ...shownColumns],
    startedAt: "started_at",
  },
  {
    table: "conversation_turns",
    keys: ["chat_key", "conversation_started_at", "slot", "lens"],
    columns: [...turnColumns, "slot"],
    startedAt: "conversation_started_at",
  },
] as const;

/** Removes what is no more, writes what is new or has changed. */
function replaceSql({ table, keys, columns }: (typeof conversationTables)[number]): string {
  const isKey = (name: string) => (keys as readonly string[]).includes(name);
  const rest = columns.filter((name) => !isKey(name));
  const same = (row: string, other: string) =>
    keys.map((name) => `${row}.${name} = ${other}.${name}`).join(" and ");
  return `
${table}_gone as (
  delete from ${table} where account_id = $1 and ctid = any(array(
    select held from old_${table} o
    where not exists (select from fresh_${table} f where ${same("f", "o")})
  ))
),
${table}_written as (
  insert into ${table} (account_id, ${[...keys, ...rest].join(", ")})
  select $1, ${[...keys, ...rest].join(", ")} from fresh_${table}
  order by ${keys.join(", ")}
  on conflict (account_id, ${keys.join(", ")}) do update set
    ${rest.map((name) => `${name} = excluded.${name}`).join(", ")}
  where (${rest.map((name) => `${table}.${name}`).join(", ")}) is distinct from (${rest.map((name) => `excluded.${name}`).join(", ")})
  returning 1
)`;
}

/**
 * Common table expressions that read stretches of chats anew: `fresh_` and `old_` of both tables. Parameters: `$1` account, `$2` to `$4` the stretches (chat_key uuid[], from and to timestamptz[], whole conversations, each within
 * a month), `$5` session gap in ms, `$6` reply window in ms, `$7` target in ms, `$8` to `$10` open hours (starts,
 * lengths, before), null for no calendar, `$11` the chats' ids in step with $2, `$12` their channels.
 *
 * A session ends after a gap, and with the month: chats that never pause are cut there, so that a new message costs the
 * month it is in at most. A turn is a run of inbound messages with no answer between; for each of both lenses the
 * messages that cannot answer are left out first. Cost: one index range of messages per stretch, probes for the rest.
 */
export const freshSql = `
stretches as materialized (
  select n::integer as n, chat_key, from_at, to_at, chat_id, channel_id
  from unnest($2::uuid[], $3::timestamptz[], $4::timestamptz[], $11::text[], $12::text[])
    with ordinality as s(chat_key, from_at, to_at, chat_id, channel_id, n)
),
spoken as materialized (
  select s.n, s.chat_key, s.chat_id, s.channel_id, m.*,
         row_number() over (partition by s.n order by ${inOrder("m")}) as line
  from stretches s cross join lateral (
    select date_trunc('milliseconds', m.anchor_at) as at, m.message_id, m.direction, m.agent_id, m.contact_id, m.chat_kind,
           m.direction = 'outbound' and ${isAutomatic("m")} as is_automatic, ${stepOf("m")} as step
    from messages m
    where m.account_id = $1 and ${chatOf("m")} = s.chat_id and m.anchor_at >= s.from_at
      and m.anchor_at < s.to_at + interval '1 millisecond'
      and m.channel_id is not distinct from s.channel_id and ${isSpoken("m")}
    offset 0
  ) m
),
sessioned as materialized (
  select *, count(*) filter (where is_start) over (partition by n order by line) as session
  from (
    select *, coalesce(at - lag(at) over w > $5::float8 * interval '1 millisecond', true) as is_start,
           step is distinct from lag(step) over w as is_step
    from spoken window w as (partition by n order by line)
  ) gapped
),
sessions as materialized (
  select n, session, min(chat_key::text)::uuid as chat_key, min(chat_id) as chat_id, min(channel_id) as channel_id,
         min(at) as started_at, max(at) as ended_at,
         (array_agg(direction order by line))[1] as started_by,
         count(*) filter (where direction = 'inbound')::integer as inbound,
         count(*) filter (where direction = 'outbound')::integer as outbound,
         (array_agg(contact_id order by line) filter (where contact_id is not null))[1] as contact_id,
         (array_agg(chat_kind order by line) filter (where chat_kind is not null))[1] as chat_kind,
         (array_agg(step order by line) filter (where is_step or is_start))[1:${MAX_STEPS}]
           || case when count(*) filter (where is_step or is_start) > ${MAX_STEPS} then array['…'] else '{}' end as steps
  from sessioned group by n, session
),
slotted as (
  select n, session, lens, line, at, direction, agent_id,
         count(*) filter (where direction = 'outbound') over (partition by n, session, lens order by line)
           - case when direction = 'outbound' then 1 else 0 end as slot
  from sessioned cross join (values (1::smallint), (2::smallint)) lenses(lens)
  where lens = 1 or not is_automatic
),
turns as materialized (
  select *, ${msBetween("started_at", "answered_at")} as first_ms, ${openMs("started_at", "answered_at")} as first_business_ms,
         ${openMs("last_at", "answered_at")} as last_business_ms
  from (
    select n, session, lens, slot,
           min(at) filter (where direction = 'inbound') as started_at,
           max(at) filter (where direction = 'inbound') as last_at,
           min(at) filter (where direction = 'outbound') as answered_at,
           min(agent_id) filter (where direction = 'outbound') as agent_id
    from slotted group by n, session, lens, slot
    having bool_or(direction = 'inbound')
  ) runs
),
outcomes as (
  select n, session, lens,
         case when count(answered_at) = 0 then 'unanswered'
           when (array_agg(answered_at order by slot desc))[1] is null then 'abandoned'
           else 'answered' end as outcome,
         sum(first_ms)::bigint as waiting_elapsed_ms, sum(first_business_ms)::bigint as waiting_business_ms
  from turns group by n, session, lens
),
fresh_conversations as materialized (
  select s.chat_key, s.started_at, s.ended_at, s.started_by, s.channel_id, s.inbound, s.outbound,
         coalesce(a.outcome, 'no_reply') as any_outcome, coalesce(h.outcome, 'no_reply') as human_outcome,
         a.waiting_elapsed_ms as any_waiting_elapsed_ms, a.waiting_business_ms as any_waiting_business_ms,
         h.waiting_elapsed_ms as human_waiting_elapsed_ms, h.waiting_business_ms as human_waiting_business_ms,
         s.chat_id, s.chat_kind, s.contact_id, s.steps
  from sessions s
  left join outcomes a on a.n = s.n and a.session = s.session and a.lens = 1
  left join outcomes h on h.n = s.n and h.session = s.session and h.lens = 2
),
fresh_conversation_turns as materialized (
  select s.chat_key, t.started_at, t.slot::integer as slot, bit_or(t.lens)::smallint as lens, t.last_at, t.answered_at,
         s.started_at as conversation_started_at, t.first_business_ms, t.last_business_ms,
         t.slot = 0 and s.started_by = 'inbound' as is_first,
         coalesce(t.first_ms <= $6, false) as is_in_window, coalesce(t.first_ms <= $7, false) as is_in_sla_elapsed,
         t.first_business_ms <= $7 as is_in_sla_business, s.started_by, s.channel_id, t.agent_id
  from turns t join sessions s using (n, session)
  group by s.chat_key, t.started_at, t.slot, t.last_at, t.answered_at, s.started_at, t.first_business_ms,
           t.last_business_ms, t.first_ms, s.started_by, s.channel_id, t.agent_id
),
old_conversations as materialized (
  select c.* from stretches s cross join lateral (
    select c.ctid as held, c.* from conversations c
    where c.account_id = $1 and c.chat_key = s.chat_key and c.started_at between s.from_at and s.to_at
    offset 0
  ) c
),
old_conversation_turns as materialized (
  select t.* from stretches s cross join lateral (
    select t.ctid as held, t.* from conversation_turns t
    where t.account_id = $1 and t.chat_key = s.chat_key and t.conversation_started_at between s.from_at and s.to_at
    offset 0
  ) t
)`;

/**
 * Reads stretches of chats anew and puts the difference into conversations, turns, rollups and flow edges. Parameters of
 * `freshSql`.
 */
export const rebuildSql = prepared(`
with ${freshSql},${conversationTables.map(replaceSql).join(",")},
conversation_states as (
  select 1 as sign, ${conversationColumns.join(", ")} from fresh_conversations
  union all
  select -1, ${conversationColumns.join(", ")} from old_conversations
),
turn_states as (
  select 1 as sign, ${turnColumns.join(", ")} from fresh_conversation_turns
  union all
  select -1, ${turnColumns.join(", ")} from old_conversation_turns
),
flow_states as (
  select 1 as sign, started_at, steps from fresh_conversations
  union all
  select -1, started_at, steps from old_conversations
),${conversationDeltasSql("conversation_states", "turn_states")},${appendDeltasSql(conversationRollups)},${flowDeltasSql("flow_states")}
select (select count(*)::integer from sessioned) as messages,
       (select count(*)::integer from conversations_written) as conversations,
       ${appendedRows(conversationRollups)} as deltas`);
