import { CompiledQuery, type Kysely, sql, type Transaction } from "kysely";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";
import { foldBatchSql } from "./fold-statement.js";

/** Where a fold has got to in an account's events: `seq` breaks ties inside one transaction. */
export interface Position {
  xid: string;
  seq: number;
}

export interface FoldedBatch {
  events: number;
  messages: number;
  /** Stretches of chats that were marked. */
  marks: number;
  /** Rows of differences that wait to be settled. */
  unsettled: number;
  /** After the last event read; undefined when there was none. */
  position: Position | undefined;
  caughtUp: boolean;
}

/**
 * Folds the next batch of one account in one transaction. `after` lets a caller go on past what the watermark may
 * already promise (see below); it is never behind the watermark. Folding the same events again changes nothing.
 *
 * The watermark advances only to the oldest transaction still running, read before the events: what commits later
 * sorts after it, so nothing is missed, and a long transaction elsewhere delays nobody, it only makes us read some
 * events again.
 */
export async function foldBatch(
  db: Db,
  accountId: string,
  options: { after?: Position | undefined; limit: number },
): Promise<FoldedBatch> {
  return db.transaction().execute(async (trx) => {
    const watermark = await lockWatermark(trx, accountId);
    if (!watermark)
      return { events: 0, messages: 0, marks: 0, unsettled: 0, position: undefined, caughtUp: true };
    const horizon = await oldestRunning(trx);
    await preferIndexes(trx);
    const skips = options.after !== undefined && isAfter(options.after, watermark);
    const from = skips ? options.after! : watermark;
    const result = await trx.executeQuery<{
      events: number;
      messages: number;
      marks: number;
      late: number;
      deltas: number;
      xid: string | null;
      seq: number | null;
    }>(
      CompiledQuery.raw(foldBatchSql, [
        accountId,
        from.xid,
        from.seq,
        options.limit,
        isAfter(watermark.reached, from),
      ]),
    );
    const { events, messages, marks, late, deltas, xid, seq } = result.rows[0]!;
    const position = xid === null || seq === null ? undefined : { xid, seq };
    const caughtUp = events < options.limit;
    await advance(trx, accountId, {
      // What lies between the watermark and `after` may have been committed since it was passed over.
      position: position && (skips ? watermark : safeWatermark(position, horizon, watermark)),
      // A change of mind about marketing is in no message.
      changed: messages > 0 || deltas > 0,
      late,
      caughtUp,
    });
    await noteUnsettled(trx, accountId, deltas);
    const unsettled = watermark.unsettled_rows + deltas;
    return { events, messages, marks, unsettled, position, caughtUp };
  });
}

/**
 * Takes the account's fold lock for the rest of the transaction. Whatever rewrites state takes it, after the lock of the
 * rollups where it takes both.
 */
export async function lockWatermark(
  trx: Transaction<Database>,
  accountId: string,
): Promise<(Position & { reached: Position; unsettled_rows: number }) | undefined> {
  const row = await trx
    .selectFrom("fold_watermarks")
    .select(["xid", "seq", "reached_xid", "reached_seq", "unsettled_rows"])
    .where("account_id", "=", accountId)
    .forUpdate()
    .executeTakeFirst();
  return row && { ...row, reached: { xid: row.reached_xid, seq: row.reached_seq } };
}

/** The oldest transaction id still in progress. Read alone: on a sharded cluster it must not be pushed to a shard. */
async function oldestRunning(trx: Kysely<Database>): Promise<string> {
  const result = await sql<{
    xmin: string;
  }>`select pg_snapshot_xmin(pg_current_snapshot())::text as xmin`.execute(trx);
  return result.rows[0]!.xmin;
}

/**
 * The batch's size is known to us and not to the planner, which takes common table expressions for tiny or huge.
 * Every join of the fold is an index probe per row; compiling the statement would cost more than running it.
 */
export async function preferIndexes(trx: Kysely<Database>): Promise<void> {
  await sql`select set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
                   set_config('work_mem', '64MB', true)`.execute(trx);
}

/**
 * Hashes what is joined: nothing is known of its size, and a nested loop over common table expressions is quadratic. What
 * has to be probed is a lateral subquery that cannot be pulled up, for its `limit` or its `offset 0`.
 */
export async function preferHashes(trx: Kysely<Database>): Promise<void> {
  await sql`set local enable_nestloop = off`.execute(trx);
}

async function advance(
  trx: Kysely<Database>,
  accountId: string,
  outcome: { position: Position | undefined; changed: boolean; late: number; caughtUp: boolean },
): Promise<void> {
  if (!outcome.position && !outcome.caughtUp) return;
  await trx
    .updateTable("fold_watermarks")
    .set((eb) => ({
      ...(outcome.position && { xid: outcome.position.xid, seq: outcome.position.seq }),
      ...(outcome.changed ? { version: eb("version", "+", 1) } : {}),
      ...(outcome.late > 0 ? { late_after_retention: eb("late_after_retention", "+", outcome.late) } : {}),
      ...(outcome.caughtUp ? { folded_at: sql<Date>`now()` } : {}),
    }))
    .where("account_id", "=", accountId)
    .execute();
}

/** Says that an account's numbers are others than before; for whoever rewrites state outside a fold. */
export async function raiseVersion(trx: Kysely<Database>, accountId: string): Promise<void> {
  await trx
    .updateTable("fold_watermarks")
    .set((eb) => ({ version: eb("version", "+", 1) }))
    .where("account_id", "=", accountId)
    .execute();
}

/** Says that rows wait to be settled, in the transaction that has added them. */
export async function noteUnsettled(trx: Kysely<Database>, accountId: string, rows: number): Promise<void> {
  if (rows === 0) return;
  await sql`
    update fold_watermarks
    set unsettled_rows = unsettled_rows + ${rows}, unsettled_since = coalesce(unsettled_since, now())
    where account_id = ${accountId}`.execute(trx);
}

export function isAfter(a: Position, b: Position): boolean {
  const xids = BigInt(a.xid) - BigInt(b.xid);
  return xids === 0n ? a.seq > b.seq : xids > 0n;
}

/** Just before the first event of `horizon`, which may still be writing, unless the batch ended earlier. */
function safeWatermark(position: Position, horizon: string, current: Position): Position {
  const limit = { xid: horizon, seq: -1 };
  const safe = isAfter(position, limit) ? limit : position;
  return isAfter(safe, current) ? safe : current;
}
