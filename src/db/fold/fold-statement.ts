import { applyDeltasSql, rememberDimensionsSql } from "./apply-deltas.js";
import { contributingColumns, contributionsSql } from "./contributions.js";
import { anchorAt, type Fact, facts, factTypes, stages, stateColumns } from "./message-state.js";

/** Digits of an order key in front of a fact's text, so that `min()` of the two together picks the least key. */
const ORDER_DIGITS = 16;

const factName = (fact: Fact) => fact.order.replace("_order", "_fact");
const quoted = (types: readonly string[]) => types.map((type) => `'${type}'`).join(", ");

const leastFacts = facts
  .map((fact) => {
    const text = fact.asText("batch");
    const present = [
      `batch.${fact.columns[0]} is not null`,
      ...(fact.only ? [`type = '${fact.only}'`] : []),
    ].join(" and ");
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

/**
 * Folds one batch of an account's events. Parameters: `$1` account, `$2` and `$3` the position (xid, seq) after which
 * to read, `$4` how many events. One row comes back: `events`, the position of the last one (`xid`, `seq`) and
 * `messages`, the number of messages that changed.
 *
 * Cost: one index range over the events, one index probe per touched message and rollup row, no scan. Locks: the
 * caller holds the account's watermark row; rows are written in key order.
 */
export const foldBatchSql = `
with batch as materialized (
  select *, case when type in (${quoted(factTypes)}) then lpad(to_hex(fact_order), ${ORDER_DIGITS}, '0') end as order_digits
  from message_events
  where account_id = $1 and (xid, seq) > ($2::xid8, $3::bigint)
  order by xid, seq
  limit $4
),
incoming as (
  select message_id,
         ${stages.map((stage) => `min(occurred_at) filter (where type = '${stage.type}') as ${stage.column}`).join(",\n         ")},
         ${leastFacts}
  from batch
  where message_id is not null and type in (${quoted(stages.map((stage) => stage.type))})
  group by message_id
  order by message_id
),
merged as (
  select i.message_id, o.message_id is null as is_new,
         ${stages.map((stage) => `least(i.${stage.column}, o.${stage.column}) as ${stage.column}`).join(",\n         ")},
         ${facts.map(mergedFact).join(",\n         ")},
         ${stateColumns.map((column) => `o.${column} as old_${column}`).join(", ")}
  from incoming i
  left join lateral (
    select * from messages m where m.account_id = $1 and m.message_id = i.message_id limit 1
  ) o on true
),
changed as materialized (
  select * from merged
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
states as (
  select 1 as sign, ${contributingColumns.join(", ")} from changed
  union all
  select -1, ${contributingColumns.map((column) => `old_${column}`).join(", ")} from changed where not is_new
),${contributionsSql("states")},${rememberDimensionsSql},${applyDeltasSql}
select (select count(*)::integer from batch) as events,
       (select count(*)::integer from changed) as messages,
       last.xid::text as xid, last.seq as seq
from (select 1) always
left join lateral (select xid, seq from batch order by xid desc, seq desc limit 1) last on true`;
