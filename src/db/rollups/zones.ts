import { CompiledQuery, sql } from "kysely";
import type { Db } from "../client.js";
import { repairContactDrift } from "../contacts/contact-drift.js";
import { lockWatermark, raiseVersion } from "../fold/fold-account.js";
import { longSession } from "../long-session.js";
import { zoneToBuild } from "../queries/account-zones.js";
import { settingsChange } from "../queries/accounts.js";
import { type OnProgress, repairDrift } from "./drift.js";
import { dayGrain } from "./family.js";
import { copyFrozenCounts } from "./frozen-counts.js";
import { rolledUp, zoneTables } from "./rolled-up.js";
import { lockRollups } from "./settle.js";
import { grainColumns } from "./summed.js";

/** Rows removed under one lock. */
const REMOVED_ROWS = 5_000;

/**
 * Builds the days of the zone that an account wants, and switches to it. To build is to repair the drift of that zone
 * alone: its rows are missing at first, and what a killed build has left of them is taken into account by the next.
 * `replaced`: something else is wanted by now.
 */
export async function buildWantedZone(
  db: Db,
  accountId: string,
  signal: AbortSignal,
  onProgress?: OnProgress,
): Promise<"nothing" | "built" | "replaced"> {
  const wanted = await zoneToBuild(db, accountId);
  if (!wanted) return "nothing";
  await waitForWriters(db, accountId);
  await copyFrozenDays(db, accountId, wanted.zoneId, signal);
  await copyFrozenCounts(db, accountId, wanted.zoneId, signal);
  await repairDrift(db, accountId, { zoneId: wanted.zoneId }, signal, onProgress);
  await repairContactDrift(db, accountId, { zoneId: wanted.zoneId }, signal);
  signal.throwIfAborted();
  return (await switchZone(db, accountId, wanted.zoneId)) ? "built" : "replaced";
}

/** What began before the zone was wanted does not write its days. Whatever comes after this does. */
async function waitForWriters(db: Db, accountId: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await lockRollups(trx, accountId);
    await lockWatermark(trx, accountId);
  });
}

/**
 * Of messages that are gone only the days of the old zone are known: they keep its midnights. Nothing is frozen while a
 * zone is being built, so what is copied stands still.
 */
async function copyFrozenDays(db: Db, accountId: string, zoneId: number, signal: AbortSignal): Promise<void> {
  await longSession(db, signal, async (session) => {
    for (const { family, frozen } of rolledUp) {
      if (!frozen) continue;
      const columns = grainColumns(family, dayGrain(family));
      const text = `
insert into ${frozen.days} (account_id, ${columns.join(", ")})
select $1, ${columns.map((name) => (name === "zone_id" ? "$2::smallint" : `old.${name}`)).join(", ")}
from accounts a join ${frozen.days} old on old.account_id = a.account_id and old.zone_id = a.zone_id
where a.account_id = $1
on conflict do nothing`;
      await session.executeQuery(CompiledQuery.raw(text, [accountId, zoneId]));
    }
  });
}

/** Answers come from the new zone's days from here on; those of the old one are maintained until they are removed. */
async function switchZone(db: Db, accountId: string, zoneId: number): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    await lockWatermark(trx, accountId);
    // In the order of those who want a zone: the account, then its zones.
    await sql`select from accounts where account_id = ${accountId} for update`.execute(trx);
    const { rows } = await sql<{ time_zone: string }>`
      update account_zones set built_at = now()
      where account_id = ${accountId} and zone_id = ${zoneId} and built_at is null and retired_at is null
      returning time_zone`.execute(trx);
    if (!rows[0]) return false;
    await sql`
      update account_zones set retired_at = now()
      where account_id = ${accountId} and zone_id <> ${zoneId} and retired_at is null`.execute(trx);
    const { time_zone } = rows[0];
    // Business hours without a zone of their own are another zone's now.
    const isAnother = sql`(has_calendar and settings -> 'calendar' ->> 'time_zone' is null and time_zone <> ${time_zone})`;
    await trx
      .updateTable("accounts")
      .set({ time_zone, zone_id: zoneId, ...settingsChange(isAnother) })
      .where("account_id", "=", accountId)
      .execute();
    await raiseVersion(trx, accountId);
    return true;
  });
}

/**
 * Removes the next rows of a retired zone; the zone itself goes with the last of them, so that no fold writes what nobody
 * would remove. True when it is gone.
 */
export async function removeZoneRows(db: Db, accountId: string, zoneId: number): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    await lockRollups(trx, accountId);
    await lockWatermark(trx, accountId);
    let room = REMOVED_ROWS;
    for (const table of zoneTables) {
      const text = `
delete from ${table} where ctid = any(array(
  select ctid from ${table} where account_id = $1 and zone_id = $2 limit $3))`;
      const parameters = [accountId, zoneId, room];
      const removed = await trx.executeQuery(CompiledQuery.raw(text, parameters));
      room -= Number(removed.numAffectedRows ?? 0);
      if (room <= 0) return false;
    }
    await sql`
      delete from account_zones
      where account_id = ${accountId} and zone_id = ${zoneId} and retired_at is not null`.execute(trx);
    return true;
  });
}
