import { sql } from "kysely";
import type { QueriedAccount } from "../../analytics/metrics-query.js";
import type { Db } from "../client.js";
import { type QueriedAccountRow, queriedAccount, queriedColumns } from "./accounts.js";

/** What an account's numbers depend on besides the question. */
export interface FoldVersion extends QueriedAccount {
  /** `epoch.version` of the fold watermark: another one after every change of the account's numbers. */
  version: string;
}

/**
 * The versions of these accounts; those that do not exist are absent. Two probes of a primary key for each account, in
 * one statement, without locks: every reader of metrics asks it first, and on a cache hit nothing else.
 */
export async function findFoldVersions(
  db: Db,
  accountIds: readonly string[],
): Promise<Map<string, FoldVersion>> {
  const { rows } = await sql<QueriedAccountRow & { version: string }>`
    select ${sql.raw(queriedColumns.map((name) => `a.${name}`).join(", "))},
           w.epoch || '.' || w.version as version
    from accounts a join fold_watermarks w using (account_id)
    where a.account_id = any(${[...accountIds]}::text[])`.execute(db);
  return new Map(rows.map((row) => [row.account_id, { ...queriedAccount(row), version: row.version }]));
}
