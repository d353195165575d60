import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";

export type AccountRow = Selectable<Database["accounts"]>;

/** Creates the accounts that do not exist yet, with a fold watermark each. Idempotent. */
export async function ensureAccounts(db: Db, accountIds: readonly string[]): Promise<void> {
  if (accountIds.length === 0) return;
  const sorted = [...accountIds].sort();
  await sql`
    with made as (
      insert into accounts (account_id) select unnest(${sorted}::text[]) on conflict do nothing returning account_id
    )
    insert into fold_watermarks (account_id, epoch)
    select account_id, (select epoch from installation) from made
    on conflict do nothing`.execute(db);
}

/** Creates one account with its fold watermark, in one statement. Undefined when it exists already. */
export async function createAccount(
  db: Db,
  account: { accountId: string; name: string | null; timeZone: string },
): Promise<AccountRow | undefined> {
  return db
    .with("made", (cte) =>
      cte
        .insertInto("accounts")
        .values({ account_id: account.accountId, name: account.name, time_zone: account.timeZone })
        .onConflict((conflict) => conflict.column("account_id").doNothing())
        .returningAll(),
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

export const findAccount = (db: Db, accountId: string): Promise<AccountRow | undefined> =>
  db.selectFrom("accounts").selectAll().where("account_id", "=", accountId).executeTakeFirst();

/** In the order of their ids, those of `scope` only. */
export async function listAccounts(
  db: Db,
  page: { scope: "all" | readonly string[]; after?: string | undefined; limit: number },
): Promise<AccountRow[]> {
  let query = db.selectFrom("accounts").selectAll().orderBy("account_id").limit(page.limit);
  if (page.scope !== "all")
    query = query.where("account_id", "=", sql<string>`any(${[...page.scope]}::text[])`);
  if (page.after !== undefined) query = query.where("account_id", ">", page.after);
  return query.execute();
}

/** Changes what is given; undefined when there is no such account. */
export async function updateAccount(
  db: Db,
  accountId: string,
  changes: { name?: string | null | undefined; timeZone?: string | undefined },
): Promise<AccountRow | undefined> {
  if (changes.name === undefined && changes.timeZone === undefined) return findAccount(db, accountId);
  return db
    .updateTable("accounts")
    .set({
      ...(changes.name === undefined ? {} : { name: changes.name }),
      ...(changes.timeZone === undefined ? {} : { time_zone: changes.timeZone }),
    })
    .where("account_id", "=", accountId)
    .returningAll()
    .executeTakeFirst();
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
