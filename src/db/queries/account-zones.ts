import { sql } from "kysely";
import type { Db } from "../client.js";

/** The zone that will be an account's once its days are built, by account. */
export type PendingZones = ReadonlyMap<string, string>;

export async function pendingZones(db: Db, accountIds: readonly string[]): Promise<PendingZones> {
  const { rows } = await sql<{ account_id: string; time_zone: string }>`
    select z.account_id, z.time_zone
    from account_zones z join accounts a using (account_id)
    where z.account_id = any(${[...accountIds]}::text[]) and z.built_at is null and z.retired_at is null
      and z.time_zone <> a.time_zone`.execute(db);
  return new Map(rows.map((row) => [row.account_id, row.time_zone]));
}

/**
 * Wants another zone for an account: a row that folds fill from now on and `buildZone` completes. Of several wanted
 * zones the newest stays; the zone that the account has already takes back what was wanted. The least free number is
 * taken, since a number is free only after every row of it is gone.
 */
export async function changeTimeZone(db: Db, accountId: string, timeZone: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const account = await trx
      .selectFrom("accounts")
      .select(["time_zone", "zone_id"])
      .where("account_id", "=", accountId)
      .forUpdate()
      .executeTakeFirst();
    if (!account) return;
    await sql`
      update account_zones set retired_at = now()
      where account_id = ${accountId} and built_at is null and retired_at is null and time_zone <> ${timeZone}`.execute(
      trx,
    );
    if (account.zone_id !== null && account.time_zone === timeZone) return;
    await sql`
      insert into account_zones (account_id, zone_id, time_zone)
      select ${accountId}, free, ${timeZone}
      from generate_series(1, 32767) as free
      where not exists (select from account_zones where account_id = ${accountId} and zone_id = free)
        and not exists (
          select from account_zones
          where account_id = ${accountId} and built_at is null and retired_at is null
        )
      order by free limit 1`.execute(trx);
  });
}

/** Accounts with a zone that is wanted and not built. */
export async function accountsToBuild(db: Db, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom("account_zones")
    .select("account_id")
    .distinct()
    .where("built_at", "is", null)
    .where("retired_at", "is", null)
    .limit(limit)
    .execute();
  return rows.map((row) => row.account_id);
}

/** The zone of an account that is wanted and not built. */
export async function zoneToBuild(
  db: Db,
  accountId: string,
): Promise<{ zoneId: number; timeZone: string } | undefined> {
  const row = await db
    .selectFrom("account_zones")
    .select(["zone_id", "time_zone"])
    .where("account_id", "=", accountId)
    .where("built_at", "is", null)
    .where("retired_at", "is", null)
    .executeTakeFirst();
  return row && { zoneId: row.zone_id, timeZone: row.time_zone };
}

/**
 * Zones that nobody reads any more: another took their place so long ago that no query planned before can still run, or
 * they were never built.
 */
export async function zonesToRemove(
  db: Db,
  { retiredMs, limit }: { retiredMs: number; limit: number },
): Promise<{ accountId: string; zoneId: number }[]> {
  const { rows } = await sql<{ accountId: string; zoneId: number }>`
    select account_id as "accountId", zone_id as "zoneId" from account_zones
    where retired_at is not null
      and (built_at is null or retired_at < now() - ${retiredMs} * interval '1 millisecond')
    limit ${limit}`.execute(db);
  return rows;
}
