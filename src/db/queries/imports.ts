import { sql } from "kysely";
import type { Db } from "../client.js";
import type { ImportCursor } from "../schema.js";
import { insertEvents, type NewEvent } from "./insert-events.js";
import type { Claim } from "./runs.js";

/**
 * Stores a batch of an import's events and how far it has come, in one transaction: whoever goes on after a crash counts
 * every event once. Undefined when the claim no longer holds, and then nothing is stored. Locks the run's row for the
 * transaction, so that a worker which was taken for dead cannot slip in between; its heartbeat waits as long.
 */
export async function storeImportBatch(
  db: Db,
  claim: Claim,
  events: readonly NewEvent[],
  before: ImportCursor,
  rows: number,
): Promise<ImportCursor | undefined> {
  return db.transaction().execute(async (trx) => {
    const held = await trx
      .selectFrom("runs")
      .select("run_id")
      .where("account_id", "=", claim.accountId)
      .where("run_id", "=", claim.runId)
      .where("fence", "=", claim.fence)
      .where("status", "=", "running")
      .forUpdate()
      .executeTakeFirst();
    if (!held) return undefined;
    const fresh = (await insertEvents(trx, events)).filter(Boolean).length;
    const cursor: ImportCursor = {
      ...before,
      rows,
      accepted: before.accepted + fresh,
      duplicates: before.duplicates + events.length - fresh,
    };
    await trx
      .updateTable("runs")
      .set({ cursor: JSON.stringify(cursor) })
      .where("account_id", "=", claim.accountId)
      .where("run_id", "=", claim.runId)
      .execute();
    return cursor;
  });
}

/**
 * Uploads that nobody needs any more: of imports that succeeded, and of others that ended longer ago than a retry is
 * offered. Reads a partial index of the uploads that are there.
 */
export async function spentUploads(
  db: Db,
  retentionMs: number,
  limit: number,
): Promise<{ accountId: string; runId: string; key: string }[]> {
  const rows = await db
    .selectFrom("runs")
    .select(["account_id", "run_id", "upload"])
    .where("upload", "is not", null)
    .where(sql<boolean>`not upload ? 'removed'`)
    .where(
      sql<boolean>`(status = 'succeeded' or status in ('failed', 'cancelled')
                    and updated_at < now() - ${retentionMs} * interval '1 millisecond')`,
    )
    .orderBy("updated_at")
    .limit(limit)
    .execute();
  return rows.map((row) => ({ accountId: row.account_id, runId: row.run_id, key: row.upload!.key }));
}

/**
 * Says that the file is gone, unless the run was started over in the meantime: then it is still needed. Returns the key of
 * the file that nobody needs.
 */
export async function markUploadRemoved(
  db: Db,
  accountId: string,
  runId: string,
): Promise<string | undefined> {
  const row = await db
    .updateTable("runs")
    .set({ upload: sql`upload || '{"removed": true}'` as never })
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .where("status", "in", ["succeeded", "failed", "cancelled"])
    .returning("upload")
    .executeTakeFirst();
  return row?.upload?.key;
}
