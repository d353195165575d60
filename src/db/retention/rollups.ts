import { CompiledQuery, sql, type Transaction } from "kysely";
import type { Db } from "../client.js";
import { lockWatermark, preferIndexes, raiseVersion } from "../fold/fold-account.js";
import { applyGrainSql } from "../rollups/apply.js";
import { dayGrain, groupingsOf, type RollupFamily } from "../rollups/family.js";
import { rolledUp } from "../rollups/rolled-up.js";
import { lockRollups } from "../rollups/settle.js";
import { grainColumns, summedSql } from "../rollups/summed.js";
import type { Database } from "../schema.js";
import { hasUnbuiltZone } from "./floors.js";

/** Removes the next quarters of an hour below the account's floor: nothing writes or compares them any more. */
export async function removeQuarters(session: Db, accountId: string, limit: number): Promise<number> {
  let removed = 0;
  for (const { family, frozen } of rolledUp)
    for (const table of frozen ? [family.quarters, frozen.quarters] : [family.quarters]) {
      const text = `
delete from ${table} where account_id = $1 and ctid = any(array(
  select ctid from ${table}
  where account_id = $1 and bucket < (select quarters_from from accounts where account_id = $1)
  limit $2))`;
      const result = await session.executeQuery(CompiledQuery.raw(text, [accountId, limit]));
      removed += Number(result.numAffectedRows ?? 0);
    }
  return removed;
}

/**
 * Adds the next day that is too old to the row at `-infinity`, which stays: what is counted since the beginning, like a
 * queue's depth, needs it. The floor rises in the same transaction, and from then on whatever comes for the day goes there.
 * Returns 1 per day. Nothing happens while a zone is being built.
 */
export async function addUpOldDays(
  session: Db,
  accountId: string,
  keptDays: number | null,
  now: Date,
): Promise<number> {
  if (keptDays === null) return 0;
  return session.transaction().execute(async (trx) => {
    await lockRollups(trx, accountId);
    await lockWatermark(trx, accountId);
    await preferIndexes(trx);
    const { rows } = await sql<{ floor: string | null; target: string }>`
      select days_from::text as floor, target::text
      from accounts, lateral (select (${now}::timestamptz at time zone time_zone)::date - ${keptDays}::integer) as t(target)
      where account_id = ${accountId} and (days_from is null or days_from < target)
        and not ${hasUnbuiltZone(accountId)}`.execute(trx);
    if (!rows[0]) return 0;
    const { floor, target } = rows[0];
    const next = await nextFloor(trx, accountId, floor, target);
    for (const { family, frozen } of rolledUp)
      for (const table of frozen ? [family.days, frozen.days] : [family.days])
        await trx.executeQuery(CompiledQuery.raw(addUpSql(family, table), [accountId, next]));
    await sql`update accounts set days_from = ${next}::date where account_id = ${accountId}`.execute(trx);
    await raiseVersion(trx, accountId);
    return 1;
  });
}

/** Rows of these days, found by the table's key. */
const oldDays = (family: RollupFamily, condition: string) => `account_id = $1
    and zone_id = any(array(select zone_id from account_zones where account_id = $1))
    and grouping = any('{${groupingsOf(family)
      .map(({ mask }) => mask)
      .join(", ")}}'::smallint[]) and ${condition}`;

/** The day after the first one that has rows, so that one transaction adds up one day; at most the target. */
async function nextFloor(
  trx: Transaction<Database>,
  accountId: string,
  floor: string | null,
  target: string,
): Promise<string> {
  const first = rolledUp
    .flatMap(({ family, frozen }) =>
      (frozen ? [family.days, frozen.days] : [family.days]).map(
        (table) =>
          `select min(day) as day from ${table} where ${oldDays(family, "day > '-infinity' and day >= $2::date and day < $3::date")}`,
      ),
    )
    .join("\nunion all\n");
  const text = `select least($3::date, min(day) + 1)::text as next from (${first}) days`;
  const parameters = [accountId, floor ?? "-infinity", target];
  return (await trx.executeQuery<{ next: string }>(CompiledQuery.raw(text, parameters))).rows[0]!.next;
}

function addUpSql(family: RollupFamily, table: string): string {
  const grain = { ...dayGrain(family), table };
  const columns = grainColumns(family, grain);
  return `
with taken as materialized (
  delete from ${table} where ${oldDays(family, "day > '-infinity' and day < $2::date")}
  returning ${columns.map((name) => (name === "day" ? "'-infinity'::date as day" : name)).join(", ")}
),
together as materialized (${summedSql(family, grain, "taken")}),${applyGrainSql(family, grain, "together")}
select 1`;
}
