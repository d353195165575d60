import type { Counts } from "../contacts/apply-presence.js";
import { dayOf } from "../rollups/deltas.js";

export const flowCounts: Counts = {
  table: "flow_edges",
  keys: ["zone_id", "day", "edge_id"],
  count: "conversations",
  told: ["position", "from_step", "to_step"],
  freezes: true,
};

const EDGE_ID = "md5(row(position, from_step, to_step)::text)::uuid";

/** The steps of conversations, an edge a row. */
const flowSteps = (states: string): string => `walked as (
  select sign, started_at, steps, generate_series(0, cardinality(steps)) as position from ${states}
),
stepped as (
  select sign, date_bin('15 minutes', started_at, 'epoch'::timestamptz) as bucket, position::smallint as position,
         steps[position] as from_step, steps[position + 1] as to_step
  from walked
)`;

/**
 * Common table expressions that count the ways of conversations, over `states(sign, started_at, steps)`: an edge from
 * each step to the next, by position, one in from nowhere (null) and one out to nowhere; on the local day that the
 * conversation began, in every zone of the account. The result is `flow_deltas`.
 */
export const flowCountsSql = (states: string): string => `
${flowSteps(states)},
flow_days as materialized (
  select bucket, zone_id, ${dayOf("bucket", "time_zone")} as day
  from (select distinct bucket from stepped) met
  cross join (select zone_id, time_zone from account_zones where account_id = $1) zones
),
flow_deltas as materialized (
  select zone_id, day, position, from_step, to_step, ${EDGE_ID} as edge_id, sum(sign)::integer as n
  from stepped join flow_days using (bucket)
  group by zone_id, day, position, from_step, to_step having sum(sign) <> 0
)`;

/**
 * Common table expressions for whoever removes old conversations under the fold lock: their ways stay counted, and are
 * expected without them.
 */
export const freezeFlowsSql = (states: string): string => `${flowCountsSql(states)},
flows_frozen as (
  update flow_edges e set frozen = e.frozen + d.n
  from flow_deltas d
  where e.account_id = $1 and e.zone_id = d.zone_id and e.day = d.day and e.edge_id = d.edge_id
)`;

/**
 * Common table expressions that add `flow_deltas` to the edges. The caller holds the fold lock. What is frozen stays, even
 * if the count comes to nothing while a zone is being built.
 */
export const applyFlowsSql = `
flow_summed as materialized (
  select d.*, d.n + coalesce(o.conversations, 0) as conversations, coalesce(o.frozen, 0) as frozen, o.ctid as held
  from flow_deltas d
  left join lateral (
    select ctid, conversations, frozen from flow_edges e
    where e.account_id = $1 and e.zone_id = d.zone_id and e.day = d.day and e.edge_id = d.edge_id limit 1
  ) o on true
),
flow_written as (
  insert into flow_edges (account_id, zone_id, day, edge_id, position, from_step, to_step, conversations)
  select $1, zone_id, day, edge_id, position, from_step, to_step, conversations
  from flow_summed where conversations <> 0 or frozen <> 0
  order by zone_id, day, edge_id
  on conflict (account_id, zone_id, day, edge_id) do update set conversations = excluded.conversations
  returning 1
),
flow_gone as (
  delete from flow_edges
  where account_id = $1 and ctid = any(array(
    select held from flow_summed where conversations = 0 and frozen = 0 and held is not null
  ))
)`;

/** The ways of conversations, counted and added. */
export const flowDeltasSql = (states: string): string => `${flowCountsSql(states)},${applyFlowsSql}`;
