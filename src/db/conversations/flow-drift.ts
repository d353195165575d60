import { CompiledQuery, type Transaction } from "kysely";
import type { Db } from "../client.js";
import { bounds, type DriftScope, within } from "../rollups/drift-scope.js";
import { flowDriftTable, flowSumTable } from "../rollups/drift-tables.js";
import type { Database } from "../schema.js";
import { applyFlowsSql, flowCountsSql } from "./flow-edges.js";

/** Conversations read by one statement: a fraction of a second. */
const CHUNK_ROWS = 5_000;

const columns = "zone_id, day, edge_id, position, from_step, to_step, n";

/** Counts the ways of the next conversations by the key of their chat. Those of one chat stay together. */
export async function addFlows(
  trx: Transaction<Database>,
  accountId: string,
  scope: DriftScope,
  after: string | undefined,
): Promise<{ rows: number; last: string }> {
  const text = `
with chunk as materialized (
  select chat_key, 1 as sign, started_at, steps from conversations
  where account_id = $1 and ($4::uuid is null or chat_key > $4)
  order by chat_key fetch first ${CHUNK_ROWS} rows with ties
),${flowCountsSql("chunk")},
added as (
  insert into ${flowSumTable} (${columns}) select ${columns} from flow_deltas where ${within(scope).days}
)
select count(*) as rows, max(chat_key::text) as last from chunk`;
  const parameters = [accountId, ...bounds(scope), after ?? null];
  return (await trx.executeQuery<{ rows: number; last: string }>(CompiledQuery.raw(text, parameters)))
    .rows[0]!;
}

/** Takes off what the edges say of conversations that are still there. */
export async function addHeldFlows(
  trx: Transaction<Database>,
  accountId: string,
  scope: DriftScope,
): Promise<void> {
  const text = `
insert into ${flowSumTable} (${columns})
select zone_id, day, edge_id, position, from_step, to_step, frozen - conversations
from flow_edges where account_id = $1 and conversations <> frozen and ${within(scope).days}`;
  await trx.executeQuery(CompiledQuery.raw(text, [accountId, ...bounds(scope)]));
}

/** Writes down the edges that differ when everything is added up. Returns how many do. */
export async function keepFlowDifferences(session: Db): Promise<number> {
  const text = `
insert into ${flowDriftTable} (${columns})
select zone_id, day, edge_id, min(position), min(from_step), min(to_step), sum(n)
from ${flowSumTable} group by zone_id, day, edge_id having sum(n) <> 0`;
  return Number((await session.executeQuery(CompiledQuery.raw(text, []))).numAffectedRows ?? 0);
}

/** Adds a piece of them, under the fold lock: a rebuild has added to both sides alike meanwhile. */
export const flowPieceSql = (rows: number): string => `
with piece as materialized (
  delete from ${flowDriftTable} where ctid = any(array(select ctid from ${flowDriftTable} limit ${rows}))
  returning ${columns}
),
flow_deltas as materialized (
  select * from piece
  where zone_id in (select zone_id from account_zones where account_id = $1 and retired_at is null)
),${applyFlowsSql}
select count(*) as taken from piece`;
