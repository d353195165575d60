import { CompiledQuery, sql, type Transaction } from "kysely";
import type { Db } from "../client.js";
import { preferHashes, preferIndexes } from "../fold/fold-account.js";
import { prepared } from "../prepared.js";
import type { Database } from "../schema.js";
import { applyGrainSql, keptQuartersSql, keptSetsSql, rememberSetsSql } from "./apply.js";
import { DAY_DELTAS, dayDeltasSql, QUARTER_DELTAS } from "./deltas.js";
import { allDimensions, dayGrain, deltaGrain, quarterGrain, type RollupFamily } from "./family.js";
import { rolledUp } from "./rolled-up.js";
import { grainColumns, summedSql } from "./summed.js";

/** Rows settled in one transaction: about a second. */
const PIECE_ROWS = 20_000;

/**
 * Takes the lock of whoever writes an account's rollups, for the rest of the transaction. Who takes the fold lock too
 * takes this one first.
 */
export async function lockRollups(trx: Transaction<Database>, accountId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`rollups ${accountId}`}, 0))`.execute(trx);
}

/**
 * Brings what folds have left for later into the rollups of both grains, oldest buckets first, a piece in a transaction.
 * Answers stay the same, and folds go on beside it: they only append. Killed between two pieces, the next one goes on.
 * Returns how many rows were settled.
 */
export async function settleRollups(db: Db, accountId: string, signal?: AbortSignal): Promise<number> {
  let settled = 0;
  for (;;) {
    signal?.throwIfAborted();
    const piece = await settlePiece(db, accountId);
    settled += piece.rows;
    if (!piece.isFull) return settled;
  }
}

/** `isFull`: there may be more. */
async function settlePiece(db: Db, accountId: string): Promise<{ rows: number; isFull: boolean }> {
  return db.transaction().execute(async (trx) => {
    await lockRollups(trx, accountId);
    await preferIndexes(trx);
    await preferHashes(trx);
    const piece = { rows: 0, isFull: false };
    for (const statement of pieceStatements) {
      const { rows } = await trx.executeQuery<{ taken: number }>(
        CompiledQuery.raw(statement, [accountId, PIECE_ROWS]),
      );
      piece.rows += rows[0]!.taken;
      piece.isFull ||= rows[0]!.taken === PIECE_ROWS;
    }
    await sql`
      update fold_watermarks
      set unsettled_rows = unsettled_rows - ${piece.rows},
          unsettled_since = case when unsettled_rows > ${piece.rows} then unsettled_since end
      where account_id = ${accountId} and unsettled_since is not null`.execute(trx);
    return piece;
  });
}

export const pieceStatements = rolledUp.map(({ family }) => prepared(pieceSql(family)));

/** `$1` account, `$2` rows at most. Cost: an index probe per row written; nothing else of the account is read. */
function pieceSql(family: RollupFamily): string {
  const waiting = deltaGrain(family);
  const columns = grainColumns(family, waiting).join(", ");
  return `
with taken as materialized (
  delete from ${waiting.table}
  where ctid = any(array(select ctid from ${waiting.table} where account_id = $1 order by bucket limit $2))
  returning ${columns}
),
met as materialized (
  select s.dimensions_id, ${family.dimensions.map((name) => `s.${name}`).join(", ")}
  from (select distinct dimensions_id from taken) t
  cross join lateral (
    select * from ${family.sets} known
    where known.account_id = $1 and known.grouping = ${allDimensions(family).mask} and known.dimensions_id = t.dimensions_id
    limit 1
  ) s
),
${QUARTER_DELTAS} as materialized (${summedSql(family, waiting, "taken")}),${dayDeltasSql(family, QUARTER_DELTAS, "met")},${rememberSetsSql(
    family,
    keptSetsSql(family, "met"),
  )},${applyGrainSql(family, quarterGrain(family), keptQuartersSql)},${applyGrainSql(family, dayGrain(family), DAY_DELTAS)}
select count(*)::integer as taken from taken`;
}

/** Accounts whose rows have waited for longer than this, the longest first. */
export async function accountsToSettle(
  db: Db,
  options: { waitedMs: number; limit: number },
): Promise<string[]> {
  const { rows } = await sql<{ account_id: string }>`
    select account_id from fold_watermarks
    where unsettled_since < now() - ${options.waitedMs}::float8 * interval '1 millisecond'
    order by unsettled_since limit ${options.limit}`.execute(db);
  return rows.map((row) => row.account_id);
}
