import { sql } from "kysely";
import type { Db } from "../client.js";
import { foldBatch, isAfter, lockWatermark, type Position } from "./fold-account.js";

export interface Backfill {
  /** Events folded here; other folds of the account, which go on meanwhile, take their share. */
  folded: number;
  /** Events that there are. */
  events: number;
  /** Events before this are gone, so what they said cannot be folded again; null = none are. */
  eventsFrom: Date | null;
}

/**
 * Folds everything again that an account's events say: the watermark goes back to the beginning and on to the end. What is
 * known already changes nothing. Cancelled in between, the ordinary folds go on to the end: how far the watermark was is remembered
 * with it.
 */
export async function foldAgain(
  db: Db,
  accountId: string,
  { limit, signal }: { limit: number; signal: AbortSignal },
  onProgress: (done: number, total: number) => void,
): Promise<Backfill> {
  const { rows } = await sql<{ events: number; events_from: Date | null }>`
    select (select count(*) from message_events where account_id = ${accountId}) as events, events_from
    from accounts where account_id = ${accountId}`.execute(db);
  const { events, events_from: eventsFrom } = rows[0] ?? { events: 0, events_from: null };
  signal.throwIfAborted();
  await db.transaction().execute(async (trx) => {
    const watermark = await lockWatermark(trx, accountId);
    if (!watermark) return;
    const { xid, seq } = isAfter(watermark, watermark.reached) ? watermark : watermark.reached;
    await trx
      .updateTable("fold_watermarks")
      .set({ xid: "0", seq: 0, reached_xid: xid, reached_seq: seq })
      .where("account_id", "=", accountId)
      .execute();
  });
  let after: Position | undefined;
  for (let folded = 0; ; ) {
    signal.throwIfAborted();
    const batch = await foldBatch(db, accountId, { after, limit });
    folded += batch.events;
    after = batch.position;
    onProgress(Math.min(folded, events), events);
    if (batch.caughtUp) return { folded, events, eventsFrom };
  }
}
