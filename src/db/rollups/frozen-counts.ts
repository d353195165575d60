import { CompiledQuery } from "kysely";
import type { Db } from "../client.js";
import { type Counts, presenceCounts } from "../contacts/apply-presence.js";
import { flowCounts } from "../conversations/flow-edges.js";
import { lockWatermark } from "../fold/fold-account.js";

/** Rows copied under one lock. */
const COPIED_ROWS = 5_000;

/**
 * Of contacts and ways whose messages are gone only the days of the account's zone are known: a new one takes them over.
 * Count and what is frozen of it rise together, and once, whatever a killed copy has left. Nothing is frozen meanwhile.
 */
export async function copyFrozenCounts(
  db: Db,
  accountId: string,
  zoneId: number,
  signal: AbortSignal,
): Promise<void> {
  for (const counts of [presenceCounts, flowCounts]) {
    let after: string[] | undefined;
    do {
      signal.throwIfAborted();
      after = await db.transaction().execute(async (trx) => {
        await lockWatermark(trx, accountId);
        const { rows } = await trx.executeQuery<{ last: string[] }>(
          CompiledQuery.raw(copySql(counts, after !== undefined), [accountId, zoneId, ...(after ?? [])]),
        );
        return rows[0]?.last;
      });
    } while (after);
  }
}

/** `$3` and on: the key after which the piece begins. The result is the last key of it, if there is one. */
function copySql({ table, keys, count, told = [] }: Counts, isLater: boolean): string {
  const inZone = keys.filter((name) => name !== "zone_id");
  const key = inZone.map((name) => `e.${name}`).join(", ");
  const later = `and (${key}) > (${inZone.map((_, index) => `$${index + 3}`).join(", ")})`;
  const columns = [...inZone, ...told].join(", ");
  return `
with piece as materialized (
  select e.*
  from accounts a join ${table} e on e.account_id = a.account_id and e.zone_id = a.zone_id
  where a.account_id = $1 and a.zone_id <> $2 and e.frozen <> 0 ${isLater ? later : ""}
  order by ${key} limit ${COPIED_ROWS}
),
copied as (
  insert into ${table} as held (account_id, zone_id, ${columns}, ${count}, frozen)
  select account_id, $2::smallint, ${columns}, frozen, frozen from piece
  on conflict (account_id, ${keys.join(", ")}) do update set
    ${count} = held.${count} + excluded.frozen, frozen = excluded.frozen
  where held.frozen = 0
)
select array[${inZone.map((name) => `${name}::text`).join(", ")}] as last
from piece e order by ${inZone.map((name) => `e.${name} desc`).join(", ")} limit 1`;
}
