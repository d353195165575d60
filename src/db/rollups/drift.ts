import { type Kysely, sql, type Transaction } from "kysely";
import type { Db } from "../client.js";
import { addFlows, addHeldFlows, keepFlowDifferences } from "../conversations/flow-drift.js";
import { longSession } from "../long-session.js";
import type { Database } from "../schema.js";
import type { DriftScope } from "./drift-scope.js";
import { dropDrift, openDrift } from "./drift-tables.js";
import { addHeldRows, addSource, countRows, keepDifferences } from "./measure.js";
import { repairInPieces } from "./repair.js";
import { rolledUp } from "./rolled-up.js";

export interface Drift {
  /** Messages whose contributions were added up. */
  messages: number;
  /** Rollup rows of every grain, and edges of flows, that differ from that sum, or that it lacks, or that are missing. */
  rows: number;
}

/** Called while messages and whatever else contributes are read: how many of how many. */
export type OnProgress = (done: number, total: number) => void;

const NEVER = new AbortController().signal;

/**
 * Adds up what all messages of an account contribute and compares it with its rollups: everything in one snapshot, without
 * a lock, and in ranges of messages, so that neither memory nor the time of a statement grows with the account.
 */
export async function measureDrift(
  db: Db,
  accountId: string,
  scope: DriftScope = {},
  signal = NEVER,
  onProgress: OnProgress = () => {},
): Promise<Drift> {
  return longSession(db, signal, async (session) => {
    try {
      return await measure(db, session, accountId, scope, signal, onProgress);
    } finally {
      await dropDrift(session);
    }
  });
}

/**
 * Recomputes the rollups of a range: measures the drift in one snapshot, then adds it under the fold lock. A fold
 * changes messages and rollups by the same amount, so the drift measured before is the drift still there; the lock is
 * held for the rows that differ, a piece at a time, and not for the scan. Killed between two pieces, the next repair finds
 * what is left. Repairs of one account run one after the other.
 */
export async function repairDrift(
  db: Db,
  accountId: string,
  scope: DriftScope = {},
  signal = NEVER,
  onProgress: OnProgress = () => {},
): Promise<Drift> {
  return longSession(db, signal, async (session) => {
    const key = `repair ${accountId}`;
    await sql`select pg_advisory_lock(hashtextextended(${key}, 0))`.execute(session);
    try {
      const drift = await measure(db, session, accountId, scope, signal, onProgress);
      if (drift.rows > 0) await repairInPieces(session, accountId, signal);
      return drift;
    } finally {
      await dropDrift(session);
      await sql`select pg_advisory_unlock(hashtextextended(${key}, 0))`.execute(session);
    }
  });
}

/**
 * Leaves what differs in the session's drift tables. One connection holds the snapshot and never writes, so that it gets
 * no transaction id: folds everywhere advance only to the oldest one that is open. The other reads in that snapshot and
 * collects what it finds, in transactions of their own.
 */
async function measure(
  db: Db,
  session: Db,
  accountId: string,
  scope: DriftScope,
  signal: AbortSignal,
  onProgress: OnProgress,
): Promise<Drift> {
  await openDrift(session);
  const messages = await db
    .transaction()
    .setIsolationLevel("repeatable read")
    .setAccessMode("read only")
    .execute(async (holder) => {
      // It says nothing while the other reads.
      await sql`set local idle_in_transaction_session_timeout = '2h'`.execute(holder);
      const exported = await sql<{ id: string }>`select pg_export_snapshot() as id`.execute(holder);
      const inSnapshot = <T>(work: (trx: Transaction<Database>) => Promise<T>): Promise<T> => {
        signal.throwIfAborted();
        return session
          .transaction()
          .setIsolationLevel("repeatable read")
          .execute(async (trx) => {
            await sql.raw(`set transaction snapshot '${exported.rows[0]!.id}'`).execute(trx);
            await sql`set local jit = off`.execute(trx);
            return work(trx);
          });
      };
      return addEverything(inSnapshot, accountId, scope, onProgress);
    });
  return { messages, rows: (await keepDifferences(session)) + (await keepFlowDifferences(session)) };
}

type InSnapshot = <T>(work: (trx: Transaction<Database>) => Promise<T>) => Promise<T>;

/** One after the other, by their keys in ranges. `last` is null where nothing was left. */
interface Reading {
  table: string;
  addNext(
    trx: Transaction<Database>,
    after: string | undefined,
  ): Promise<{ rows: number; last: string | null }>;
}

const readings = (accountId: string, scope: DriftScope): Reading[] => [
  ...rolledUp.flatMap(({ family, sources }) =>
    sources.map(
      (source): Reading => ({
        table: source.table,
        addNext: (trx, after) => addSource(trx, accountId, family, source, scope, after),
      }),
    ),
  ),
  { table: "conversations", addNext: (trx, after) => addFlows(trx, accountId, scope, after) },
];

/** Contributions with a plus, rollups with a minus. Returns the number of messages. */
async function addEverything(
  inSnapshot: InSnapshot,
  accountId: string,
  scope: DriftScope,
  onProgress: OnProgress,
): Promise<number> {
  const all = readings(accountId, scope);
  const counts = await inSnapshot((trx) => countTables(trx, accountId, all));
  const total = all.reduce((sum, { table }) => sum + counts.get(table)!, 0);
  let done = 0;
  onProgress(done, total);
  for (const { table, addNext } of all) {
    const upTo = done + counts.get(table)!;
    for (let after: string | null | undefined; done < upTo && after !== null; ) {
      const last: string | undefined = after;
      const chunk = await inSnapshot((trx) => addNext(trx, last));
      // What has no key is not read.
      done = chunk.last === null ? upTo : done + chunk.rows;
      after = chunk.last;
      onProgress(done, total);
    }
  }
  for (const rolled of rolledUp) await inSnapshot((trx) => addHeldRows(trx, accountId, rolled, scope));
  await inSnapshot((trx) => addHeldFlows(trx, accountId, scope));
  return counts.get("messages")!;
}

async function countTables(
  trx: Kysely<Database>,
  accountId: string,
  tables: readonly { table: string }[],
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const { table } of tables)
    if (!counts.has(table)) counts.set(table, await countRows(trx, accountId, table));
  return counts;
}

/** How many rows are read to measure a drift. */
export async function countReadings(db: Db, accountId: string): Promise<number> {
  const all = readings(accountId, {});
  const counts = await countTables(db, accountId, all);
  return all.reduce((sum, { table }) => sum + counts.get(table)!, 0);
}
