import { CompiledQuery, sql } from "kysely";
import type { Db } from "../client.js";
import { lockWatermark, preferIndexes } from "../fold/fold-account.js";
import { applyGrainSql, keptQuartersSql } from "../rollups/apply.js";
import { DAY_DELTAS, dayDeltasSql, QUARTER_DELTAS } from "../rollups/deltas.js";
import { dayGrain, quarterGrain, type RollupFamily } from "../rollups/family.js";
import { rolledUp } from "../rollups/rolled-up.js";
import { hasUnbuiltZone } from "./floors.js";

/** Common table expressions that add `quarter_deltas` of `sets` to what is frozen of a family. */
export function freezeDeltasSql(family: RollupFamily): string {
  const frozen = rolledUp.find((rolled) => rolled.family === family)?.frozen;
  if (!frozen) throw new Error(`nothing of ${family.quarters} is frozen`);
  return [
    dayDeltasSql(family, QUARTER_DELTAS, "sets"),
    applyGrainSql(family, { ...quarterGrain(family), table: frozen.quarters }, keptQuartersSql),
    applyGrainSql(family, { ...dayGrain(family), table: frozen.days }, DAY_DELTAS),
  ].join(",\n");
}

/**
 * Freezes what the next rows before the account's floor of messages contribute, and removes them, in one transaction under
 * the fold lock: rollups stay the sum of what is frozen and what lives. `statements` freeze and remove at most `$3` rows of
 * account `$1` before `$2`, and say how many; the first that finds any is the chunk. Nothing happens while a zone is being
 * built.
 */
export async function retireChunk(
  session: Db,
  accountId: string,
  statements: readonly string[],
  limit: number,
): Promise<number> {
  return session.transaction().execute(async (trx) => {
    await lockWatermark(trx, accountId);
    await preferIndexes(trx);
    const { rows } = await sql<{ floor: Date | null; is_waiting: boolean }>`
      select messages_from as floor, ${hasUnbuiltZone(accountId)} as is_waiting
      from accounts where account_id = ${accountId}`.execute(trx);
    const { floor, is_waiting: isWaiting } = rows[0] ?? { floor: null, is_waiting: true };
    if (isWaiting || !floor) return 0;
    for (const statement of statements) {
      const removed = await trx.executeQuery<{ rows: number }>(
        CompiledQuery.raw(statement, [accountId, floor, limit]),
      );
      if (removed.rows[0]!.rows > 0) return removed.rows[0]!.rows;
    }
    return 0;
  });
}
