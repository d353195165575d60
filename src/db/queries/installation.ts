import { randomBytes, randomUUID } from "node:crypto";
import { sql } from "kysely";
import type { Db } from "../client.js";

export interface Installation {
  /** Part of every queue name, so that several installations can share one Redis. */
  installationId: string;
  /** Signs the sessions of the Bull Board login. */
  sessionSecret: Buffer;
  /** Rises when the database was restored into another cluster, where transaction ids start anew. */
  epoch: number;
}

export async function readInstallation(db: Db): Promise<Installation> {
  const row = await db.selectFrom("installation").selectAll().executeTakeFirstOrThrow();
  return { installationId: row.installation_id, sessionSecret: row.session_secret, epoch: row.epoch };
}

/**
 * Makes the installation row, or notices that the data moved to another cluster: there every transaction id the
 * events carry lies in the future, so the events are set back to the first id and every account folds anew. Costs one
 * rewrite of the events kept, once after a restore.
 */
export async function settleInstallation(db: Db): Promise<{ restored: boolean }> {
  return db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext('installation'))`.execute(trx);
    const control = await sql<{ identifier: string }>`
      select system_identifier::text as identifier from pg_control_system()`.execute(trx);
    const identifier = control.rows[0]!.identifier;
    const known = await trx.selectFrom("installation").selectAll().executeTakeFirst();
    if (!known) {
      await trx
        .insertInto("installation")
        .values({
          installation_id: randomUUID().slice(0, 8),
          session_secret: randomBytes(32),
          system_identifier: identifier,
        })
        .execute();
      return { restored: false };
    }
    if (known.system_identifier === identifier) return { restored: false };
    const epoch = known.epoch + 1;
    await trx.updateTable("installation").set({ system_identifier: identifier, epoch }).execute();
    await sql`lock table message_events in share row exclusive mode`.execute(trx);
    await sql`update message_events set xid = '3'`.execute(trx);
    await trx
      .updateTable("fold_watermarks")
      .set({ epoch, xid: "0", seq: 0, reached_xid: "0", reached_seq: 0 })
      .execute();
    // Their numbers are of the other cluster, and so are all cursors: whoever keeps a copy begins anew.
    await sql`delete from message_changes`.execute(trx);
    await sql`
      update accounts set events_removed_xid = '0', events_removed_seq = 0, message_changes_removed_xid = '0'`.execute(
      trx,
    );
    return { restored: true };
  });
}
