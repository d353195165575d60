import { applyPresenceSql } from "../contacts/apply-presence.js";
import { PRESENCE_DELTAS, presenceDeltasSql } from "../contacts/presence-deltas.js";
import { conversationMarksSql } from "../conversations/marks-statement.js";
import { prepared } from "../prepared.js";
import { appendDeltasSql, appendedRows } from "../rollups/append.js";
import { contributingColumns, messageDeltasSql, messageRollups } from "../rollups/messages.js";
import {
  anchorAt,
  echoes,
  type Fact,
  facts,
  factTypes,
  latestReactions,
  reactionEntry,
  recipientCounts,
  recipientStages,
  requeuedAt,
  stages,
  standingReactions,
  stateColumns,
} from "./message-state.js";

/** Digits of an order key in front of a fact's text, so that `min()` of the two together picks the least key. */
const ORDER_DIGITS = 16;

const factName = (fact: Fact) => fact.order.replace("_order", "_fact");
const quoted = (types: readonly string[]) => types.map((type) => `'${type}'`).join(", ");

const leastFacts = facts
  .map((fact) => {
    const text = fact.asText("spoken");
    const present = [`(${fact.isPresent("spoken")})`, ...(fact.only ? [`type = '${fact.only}'`] : [])].join(
      " and ",
    );
    return `min((order_digits || ${text}) collate "C") filter (where ${present}) as ${factName(fact)}`;
  })
  .join(",\n         ");

function mergedFact(fact: Fact): string {
  const incoming = `i.${factName(fact)}`;
  const order = `('x' || left(${incoming}, ${ORDER_DIGITS}))::bit(64)::bigint`;
  const text = `substr(${incoming}, ${ORDER_DIGITS + 1})`;
  const wins =
    `${incoming} is not null and (o.${fact.order} is null or ${order} < o.${fact.order}` +
    ` or (${order} = o.${fact.order} and ${text} < (${fact.asText("o")}) collate "C"))`;
  const values = fact.fromText(text);
  return [
    `case when ${wins} then ${order} else o.${fact.order} end as ${fact.order}`,
    ...fact.columns.map(
      (column, index) => `case when ${wins} then ${values[index]} else o.${column} end as ${column}`,
    ),
  ].join(",\n           ");
}

const row = (prefix: string) => `(${stateColumns.map((column) => `${prefix}${column}`).join(", ")})`;

/** Who an event speaks of: its own message, the one it replies to, the one it reacts to. */
const aboutSql = [
  `case when type in (${quoted(stages.map((stage) => stage.type))}) then message_id end`,
  "case when type = 'message.received' then reply_to end",
  "case when type in ('reaction.added', 'reaction.removed') and direction is distinct from 'outbound' then reaction ->> 'target' end",
];
const OWN = 0;
const REPLY = 1;
const REACTION = 2;

/** Of an account whose old messages are gone, events before the floor say nothing any more. */
const isKept =
  "occurred_at >= coalesce((select messages_from from accounts where account_id = $1), '-infinity')";
/** A message that retention has removed stays removed. */
const isThere = "about not in (select about from gone)";

const REACTION_AUTHOR = "coalesce(participant_id, contact_id, '')";

/**
 * Folds one batch of an account's events. Parameters: `$1` account, `$2` and `$3` the position (xid, seq) after which
 * to read, `$4` how many events, `$5` whether they are folded again: nobody who has passed them looks at them once more, so the
 * messages that they change are written down. One row comes back: `events`, the position of the last one (`xid`, `seq`), `messages`,
 * the number of messages that changed, `marks`, how many stretches of chats have to be read anew, and `late`, the number
 * of events that came, for the first time, for messages which retention had removed. Their keys are kept as long as they
 * are, so reading one again counts nothing.
 *
 * Cost: one index range over the events, one index probe per touched message and rollup row, no scan. Locks: the
 * caller holds the account's watermark row; rows are written in key order.
 */
export const foldBatchSql = prepared(`
with batch as materialized (
  select * from message_events
  where account_id = $1 and (xid, seq) > ($2::xid8, $3::bigint)
  order by xid, seq
  limit $4
),
spoken as materialized (
  select *,
         case when role = ${OWN} and type in (${quoted(factTypes)}) then lpad(to_hex(fact_order), ${ORDER_DIGITS}, '0') end as order_digits
  from (
    select unnest(array[${aboutSql.join(",\n             ")}]) as about, unnest(array[${OWN}, ${REPLY}, ${REACTION}]) as role, batch.*
    from batch
  ) each
  where about is not null and ${isKept}
),
gone as materialized (
  select met.about, retired.retired_at
  from (select distinct about from spoken) met
  cross join lateral (
    select retired_at from retired_messages r where r.account_id = $1 and r.id = md5(met.about)::uuid limit 1
  ) retired
  where (select messages_from from accounts where account_id = $1) is not null
),
late as (
  insert into late_events (account_id, event_key, occurred_at)
  select distinct on (event_key) $1, event_key, occurred_at
  from spoken join gone using (about)
  where role = ${OWN} and observed_at >= retired_at
  order by event_key
  on conflict do nothing
  returning 1
),
incoming as (
  select about as message_id,
         ${stages.map((stage) => `min(occurred_at) filter (where role = ${OWN} and type = '${stage.type}') as ${stage.column}`).join(",\n         ")},
         ${echoes.map((echo) => `min(occurred_at) filter (where role = ${REPLY} and (${echo.when})) as ${echo.column}`).join(",\n         ")},
         array_agg(date_trunc('milliseconds', occurred_at)) filter (where role = ${OWN} and type = 'message.queued') as queue_times,
         array_agg(${REACTION_AUTHOR}) filter (where role = ${REACTION}) as reaction_authors,
         array_agg(${reactionEntry}) filter (where role = ${REACTION}) as reaction_entries,
         ${leastFacts}
  from spoken
  where ${isThere}
  group by about
  order by about
),
receipts as materialized (
  select about as message_id, participant_id,
         ${recipientStages.map((stage) => `min(occurred_at) filter (where type = '${stage.type}') as ${stage.column}`).join(",\n         ")}
  from spoken
  where role = ${OWN} and participant_id is not null and direction is distinct from 'inbound'
    and type in (${quoted(recipientStages.map((stage) => stage.type))}) and ${isThere}
  group by about, participant_id
),
receipts_upserted as (
  insert into message_recipients (account_id, message_id, participant_key, participant_id, ${recipientStages.map((stage) => stage.column).join(", ")})
  select $1, message_id, md5(participant_id)::uuid, participant_id, ${recipientStages.map((stage) => stage.column).join(", ")}
  from receipts order by message_id, md5(participant_id)::uuid
  on conflict (account_id, message_id, participant_key) do update set
    ${recipientStages.map(({ column }) => `${column} = least(message_recipients.${column}, excluded.${column})`).join(", ")}
),
reached as (
  select message_id, count(*)::integer as recipients,
         count(*) filter (where is_delivered)::integer as recipients_delivered,
         count(*) filter (where is_read)::integer as recipients_read,
         count(*) filter (where is_failed)::integer as recipients_failed
  from (
    select message_id, participant_id, bool_or(num_nonnulls(delivered_at, read_at, played_at) > 0) as is_delivered,
           bool_or(num_nonnulls(read_at, played_at) > 0) as is_read, bool_or(failed_at is not null) as is_failed
    from (
      select message_id, participant_id, delivered_at, read_at, played_at, failed_at from receipts
      union all
      select r.message_id, r.participant_id, r.delivered_at, r.read_at, r.played_at, r.failed_at
      from (select distinct message_id from receipts) met
      cross join lateral (
        select * from message_recipients known where known.account_id = $1 and known.message_id = met.message_id
      ) r
    ) known group by message_id, participant_id
  ) recipient group by message_id
),
merged as (
  select i.message_id, o.message_id is null as is_new,
         ${[...stages, ...echoes].map(({ column }) => `least(i.${column}, o.${column}) as ${column}`).join(",\n         ")},
         ${facts.map(mergedFact).join(",\n         ")},
         ${requeuedAt},
         ${latestReactions},
         ${recipientCounts.map((name) => `coalesce(reached.${name}, o.${name}) as ${name}`).join(", ")},
         o.answered_at, o.answered_at as old_answered_at, o.anchor_at as old_anchor_at,
         ${stateColumns.map((column) => `o.${column} as old_${column}`).join(", ")}
  from incoming i
  left join reached using (message_id)
  left join lateral (
    select * from messages m where m.account_id = $1 and m.message_id = i.message_id limit 1
  ) o on true
),
settled as (
  select *, ${standingReactions.join(",\n         ")}
  from merged
),
changed as materialized (
  select * from settled
  where is_new or ${row("")} is distinct from ${row("old_")}
),
messages_upserted as (
  insert into messages (account_id, message_id, anchor_at, updated_at, ${stateColumns.join(", ")})
  select $1, message_id, ${anchorAt("changed")}, now(), ${stateColumns.join(", ")}
  from changed
  order by message_id
  on conflict (account_id, message_id) do update set
    anchor_at = excluded.anchor_at, updated_at = excluded.updated_at,
    ${stateColumns.map((column) => `${column} = excluded.${column}`).join(", ")}
),
told as (
  insert into message_changes (account_id, message_id) select $1, message_id from changed where $5::boolean order by message_id
),
${conversationMarksSql},
preferences_inserted as (
  insert into preference_changes (account_id, contact_id, occurred_at, is_opt_out, channel_key, channel_id)
  select distinct $1, contact_id, occurred_at, is_opt_out, md5(coalesce(channel_id, ''))::uuid as channel_key, channel_id
  from (
    select coalesce(contact_id, '') as contact_id, date_trunc('milliseconds', occurred_at) as occurred_at,
           change ->> 'value' = 'stop' as is_opt_out, channel_id
    from batch
    where type = 'preference.changed' and change ->> 'value' in ('stop', 'resume') and ${isKept}
  ) mind
  order by contact_id, occurred_at, is_opt_out, channel_key
  on conflict do nothing
  returning occurred_at, is_opt_out, channel_id
),
preferences as (select 1 as sign, * from preferences_inserted),
states as (
  select 1 as sign, ${contributingColumns.join(", ")} from changed
  union all
  select -1, ${contributingColumns.map((column) => `old_${column}`).join(", ")} from changed where not is_new
),${messageDeltasSql("states", "preferences")},${appendDeltasSql(messageRollups)},${presenceDeltasSql("states")},${applyPresenceSql(PRESENCE_DELTAS)}
select (select count(*)::integer from batch) as events,
       (select count(*)::integer from changed) as messages,
       (select count(*)::integer from marked) as marks,
       (select count(*)::integer from late) as late,
       ${appendedRows(messageRollups)} as deltas,
       last.xid::text as xid, last.seq as seq
from (select 1) always
left join lateral (select xid, seq from batch order by xid desc, seq desc limit 1) last on true`);
