import { type RawBuilder, type Selectable, sql } from "kysely";
import { DateTime } from "luxon";
import type { AccountSettings, SettingsChanges, StoredSettings } from "../../analytics/account-settings.js";
import type { QueriedAccount } from "../../analytics/metrics-query.js";
import type { QuotaChanges } from "../../analytics/quotas.js";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";
import { changeTimeZone } from "./account-zones.js";

/** Of the zone an account begins with: nothing has to be built for it. */
const FIRST_ZONE = 1;

export type ConfiguredAccountRow = Selectable<Database["accounts"]>;

/** What a metrics query depends on. */
export const queriedColumns = [
  "account_id",
  "time_zone",
  "zone_id",
  "quarters_from",
  "days_from",
  "has_calendar",
] as const;
export type QueriedAccountRow = Pick<ConfiguredAccountRow, (typeof queriedColumns)[number]>;

const briefColumns = [...queriedColumns, "name", "retention", "quotas", "created_at"] as const;
export type AccountRow = Pick<ConfiguredAccountRow, (typeof briefColumns)[number]>;

/** Creates the accounts that do not exist yet, with a fold watermark each. Idempotent. */
export async function ensureAccounts(db: Db, accountIds: readonly string[]): Promise<void> {
  if (accountIds.length === 0) return;
  const sorted = [...accountIds].sort();
  await sql`
    with made as (
      insert into accounts (account_id, zone_id) select unnest(${sorted}::text[]), ${FIRST_ZONE}::smallint
      on conflict do nothing returning account_id, time_zone
    ), zones as (
      insert into account_zones (account_id, zone_id, time_zone, built_at)
      select account_id, ${FIRST_ZONE}::smallint, time_zone, now() from made
    )
    insert into fold_watermarks (account_id, epoch)
    select account_id, (select epoch from installation) from made
    on conflict do nothing`.execute(db);
}

/** Creates one account with its fold watermark, in one statement. Undefined when it exists already. */
export async function createAccount(
  db: Db,
  account: { accountId: string; name: string | null; timeZone: string; settings?: StoredSettings },
): Promise<ConfiguredAccountRow | undefined> {
  return db
    .with("made", (cte) =>
      cte
        .insertInto("accounts")
        .values({
          account_id: account.accountId,
          name: account.name,
          time_zone: account.timeZone,
          zone_id: FIRST_ZONE,
          settings: JSON.stringify(account.settings ?? {}),
        })
        .onConflict((conflict) => conflict.column("account_id").doNothing())
        .returningAll(),
    )
    .with("zone", (cte) =>
      cte
        .insertInto("account_zones")
        .columns(["account_id", "zone_id", "time_zone", "built_at"])
        .expression((eb) =>
          eb
            .selectFrom("made")
            .select((row) => [
              "made.account_id",
              row.lit(FIRST_ZONE).as("zone_id"),
              "made.time_zone",
              sql<Date>`now()`.as("built_at"),
            ]),
        ),
    )
    .with("watermark", (cte) =>
      cte
        .insertInto("fold_watermarks")
        .columns(["account_id", "epoch"])
        .expression((eb) =>
          eb.selectFrom(["made", "installation"]).select(["made.account_id", "installation.epoch"]),
        ),
    )
    .selectFrom("made")
    .selectAll()
    .executeTakeFirst();
}

/** Without the settings, which may be long. */
export const findAccount = (db: Db, accountId: string): Promise<AccountRow | undefined> =>
  db.selectFrom("accounts").select(briefColumns).where("account_id", "=", accountId).executeTakeFirst();

export const findConfiguredAccount = (db: Db, accountId: string): Promise<ConfiguredAccountRow | undefined> =>
  db.selectFrom("accounts").selectAll().where("account_id", "=", accountId).executeTakeFirst();

/** Changes what is given; null takes the installation's value again. False when there is no such account. */
export async function changeQuotas(db: Db, accountId: string, changes: QuotaChanges): Promise<boolean> {
  const result = await db
    .updateTable("accounts")
    .set({ quotas: sql<string>`jsonb_strip_nulls(quotas || ${JSON.stringify(changes)}::jsonb)` })
    .where("account_id", "=", accountId)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** What a metrics query needs to know of its account. */
export const queriedAccount = (row: QueriedAccountRow): QueriedAccount => ({
  accountId: row.account_id,
  timeZone: row.time_zone,
  isAlwaysOpen: !row.has_calendar,
  kept: {
    days: row.zone_id === null ? undefined : { zoneId: row.zone_id, timeZone: row.time_zone },
    quartersFrom: row.quarters_from?.getTime(),
    // The driver reads a date as a midnight of this process's zone.
    daysFrom: (row.days_from && DateTime.fromJSDate(row.days_from).toISODate()) ?? undefined,
  },
});

/** In the order of their ids, those of `scope` only. */
export async function listAccounts(
  db: Db,
  page: { scope: "all" | readonly string[]; after?: string | undefined; limit: number },
): Promise<AccountRow[]> {
  let query = db.selectFrom("accounts").select(briefColumns).orderBy("account_id").limit(page.limit);
  if (page.scope !== "all")
    query = query.where("account_id", "=", sql<string>`any(${[...page.scope]}::text[])`);
  if (page.after !== undefined) query = query.where("account_id", ">", page.after);
  return query.execute();
}

/**
 * Changes what is given, the zone as soon as its days are built; undefined when there is no such account. Settings are
 * merged by key within the statement, so that of two changes at once none is lost.
 */
export async function updateAccount(
  db: Db,
  accountId: string,
  changes: {
    name?: string | null | undefined;
    timeZone?: string | undefined;
    settings?: SettingsChanges | undefined;
  },
  defaults: Readonly<AccountSettings>,
): Promise<ConfiguredAccountRow | undefined> {
  const { name, timeZone, settings } = changes;
  if (timeZone !== undefined) await changeTimeZone(db, accountId, timeZone);
  if (name === undefined && settings === undefined) return findConfiguredAccount(db, accountId);
  const next = mergedSql(settings ?? {});
  const isAnother = sql`${effectiveSql(next, defaults)} is distinct from ${effectiveSql(sql`settings`, defaults)}`;
  return db
    .updateTable("accounts")
    .set({
      ...(name === undefined ? {} : { name }),
      settings: sql<string>`${next}`,
      ...settingsChange(isAnother),
    })
    .where("account_id", "=", accountId)
    .returningAll()
    .executeTakeFirst();
}

/** What is set with settings by which other things count. Conversations are as old as the first change they miss. */
export const settingsChange = (isAnother: RawBuilder<unknown>) => ({
  settings_version: sql<number>`settings_version + case when ${isAnother} then 1 else 0 end`,
  settings_changed_at: sql<Date>`case when ${isAnother} and settings_version = conversations_version
    then now() else settings_changed_at end`,
});

function mergedSql(changes: SettingsChanges): RawBuilder<unknown> {
  const reset = Object.entries(changes).flatMap(([name, value]) => (value === null ? [name] : []));
  // What is null is taken away again.
  return sql`((settings || ${JSON.stringify(changes)}::jsonb) - ${reset}::text[])`;
}

/** What `effectiveSettings` makes of it, as jsonb. */
function effectiveSql(
  settings: RawBuilder<unknown>,
  defaults: Readonly<AccountSettings>,
): RawBuilder<unknown> {
  const calendar = sql`${settings} -> 'calendar'`;
  return sql`(${JSON.stringify(defaults)}::jsonb || ${settings} || case when ${calendar} is null then '{}'
    else jsonb_build_object('calendar', jsonb_build_object('time_zone', time_zone) || (${calendar})) end)`;
}

/** Which of these accounts exist. */
export async function existingAccounts(db: Db, accountIds: readonly string[]): Promise<Set<string>> {
  const rows = await db
    .selectFrom("accounts")
    .select("account_id")
    .where("account_id", "in", [...accountIds])
    .execute();
  return new Set(rows.map((row) => row.account_id));
}

/** The account each channel belongs to; channels that nobody claimed are absent. */
export async function accountsOfChannels(
  db: Db,
  channelIds: readonly string[],
): Promise<Map<string, string>> {
  if (channelIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("channels")
    .select(["channel_id", "account_id"])
    .where("channel_id", "in", [...channelIds])
    .execute();
  return new Map(rows.map((row) => [row.channel_id, row.account_id]));
}

/**
 * Accounts with events after their watermark, at most `limit`. One index probe a partition and account, in commit
 * order. The overlap that an unfinished transaction elsewhere forces is seen as lag too: folding it is harmless.
 */
export async function laggingAccounts(
  db: Db,
  options: { stuckAfterMs: number; limit: number },
): Promise<{ accountId: string; isStuck: boolean }[]> {
  const result = await sql<{ account_id: string; is_stuck: boolean }>`
    select w.account_id,
           first.observed_at < now() - ${options.stuckAfterMs} * interval '1 millisecond' as is_stuck
    from fold_watermarks w
    cross join lateral (
      select e.observed_at from message_events e
      where e.account_id = w.account_id and (e.xid, e.seq) > (w.xid, w.seq)
      order by e.xid, e.seq
      limit 1
    ) first
    order by w.folded_at nulls first
    limit ${options.limit}`.execute(db);
  return result.rows.map((row) => ({ accountId: row.account_id, isStuck: row.is_stuck }));
}
