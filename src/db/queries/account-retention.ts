import { sql } from "kysely";
import type { Db } from "../client.js";
import type { RetentionChoices } from "../schema.js";

/**
 * Merges what is given into what an account has set. `check` sees the outcome before it is written and may throw; two
 * changes at once see each other.
 */
export async function changeRetention(
  db: Db,
  accountId: string,
  changes: RetentionChoices,
  check: (outcome: RetentionChoices) => void,
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const account = await trx
      .selectFrom("accounts")
      .select("retention")
      .where("account_id", "=", accountId)
      .forUpdate()
      .executeTakeFirst();
    if (!account) return;
    const outcome = { ...account.retention, ...changes };
    check(outcome);
    await trx
      .updateTable("accounts")
      .set({ retention: JSON.stringify(outcome) })
      .where("account_id", "=", accountId)
      .execute();
  });
}

/** Accounts whose retention was not looked at for so long; a new account has the same time before its first. */
export async function accountsToRetain(db: Db, everyMs: number, limit: number): Promise<string[]> {
  const { rows } = await sql<{ account_id: string }>`
    select account_id from accounts
    where coalesce(retained_at, created_at) < now() - ${everyMs} * interval '1 millisecond'
    order by coalesce(retained_at, created_at)
    limit ${limit}`.execute(db);
  return rows.map((row) => row.account_id);
}

/** Before when an account's messages are gone, in ms; accounts of which none are gone are absent. */
export async function messageFloors(db: Db, accountIds: readonly string[]): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom("accounts")
    .select(["account_id", "messages_from"])
    .where("account_id", "=", sql<string>`any(${[...accountIds]}::text[])`)
    .where("messages_from", "is not", null)
    .execute();
  return new Map(rows.map((row) => [row.account_id, row.messages_from!.getTime()]));
}

/** The longest that any account keeps its events, in days. */
export async function longestEventsDays(db: Db, defaultDays: number): Promise<number> {
  const { rows } = await sql<{ days: number | null }>`
    select max(coalesce((retention ->> 'events_days')::integer, ${defaultDays}::integer)) as days
    from accounts`.execute(db);
  return rows[0]?.days ?? defaultDays;
}
