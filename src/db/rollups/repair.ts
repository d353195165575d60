import { CompiledQuery } from "kysely";
import type { Db } from "../client.js";
import { flowPieceSql } from "../conversations/flow-drift.js";
import { lockWatermark, preferIndexes, raiseVersion } from "../fold/fold-account.js";
import { applyGrainSql } from "./apply.js";
import { driftGrains, driftTable, metTable } from "./drift-tables.js";
import type { Grain, RollupFamily } from "./family.js";
import { rolledUp } from "./rolled-up.js";
import { lockRollups } from "./settle.js";
import { grainColumns } from "./summed.js";

/** Rows written under one lock: well under a second. */
const PIECE_ROWS = 1_000;

/**
 * Adds what the session's drift tables hold to the rollups. A row leaves them in the transaction that adds it. Floors may
 * have risen and zones may have gone since it was measured: under the lock that is known, and their rows are left out.
 */
export async function repairInPieces(session: Db, accountId: string, signal: AbortSignal): Promise<void> {
  for (const { family } of rolledUp) await rememberMet(session, accountId, family);
  const statements = [
    ...driftGrains.map(({ family, grain }) => pieceSql(family, grain)),
    flowPieceSql(PIECE_ROWS),
  ];
  for (const statement of statements)
    for (;;) {
      signal.throwIfAborted();
      const taken = await session.transaction().execute(async (trx) => {
        await lockRollups(trx, accountId);
        await lockWatermark(trx, accountId);
        await preferIndexes(trx);
        const { rows } = await trx.executeQuery<{ taken: number }>(CompiledQuery.raw(statement, [accountId]));
        if (rows[0]!.taken > 0) await raiseVersion(trx, accountId);
        return rows[0]!.taken;
      });
      if (taken === 0) break;
    }
}

function pieceSql(family: RollupFamily, grain: Grain): string {
  const drift = driftTable(grain);
  const isKept = grain.keys.includes("bucket")
    ? "bucket >= coalesce((select quarters_from from accounts where account_id = $1), '-infinity')"
    : "zone_id in (select zone_id from account_zones where account_id = $1 and retired_at is null)";
  return `
with piece as materialized (
  delete from ${drift} where ctid = any(array(select ctid from ${drift} limit ${PIECE_ROWS}))
  returning ${grainColumns(family, grain).join(", ")}
),${applyGrainSql(family, grain, `(select * from piece where ${isKept})`)}
select count(*) as taken from piece`;
}

/** A combination may be known to nobody else: its rows were lost before they were ever counted. */
async function rememberMet(session: Db, accountId: string, family: RollupFamily): Promise<void> {
  const columns = `grouping, dimensions_id, ${family.dimensions.join(", ")}`;
  const text = `
insert into ${family.sets} (account_id, ${columns})
select distinct on (grouping, dimensions_id) $1, ${columns} from ${metTable(family)}
order by grouping, dimensions_id
on conflict do nothing`;
  await session.executeQuery(CompiledQuery.raw(text, [accountId]));
}
