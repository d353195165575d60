import type { Readable } from "node:stream";
import type pg from "pg";
import { copyOut } from "./copy-out.js";
import { type HeldSnapshot, holdSnapshot, type SharedSnapshot } from "./held-snapshot.js";

/** Streams `COPY (…) TO STDOUT`. Rows never become JavaScript objects. */
export interface CopySource {
  /**
   * Runs a COPY statement on a connection of its own, of the rows that a snapshot shows. Without one, or when nobody holds it
   * any more, they are those of now: the answer has no `snapshot`, and says when that is. The statement is cancelled in the
   * database and the connection dropped when `signal` fires or the stream is destroyed early, so nothing keeps running for a
   * reader that left.
   */
  streamAt(
    snapshot: SharedSnapshot | undefined,
    sql: string,
    signal: AbortSignal,
  ): Promise<{ source: Readable; snapshot: string | undefined; takenAt: Date }>;
  /** A picture of the database that other connections can share, for as long as it is held. */
  holdSnapshot(): Promise<HeldSnapshot>;
}

export function createCopySource(pool: pg.Pool): CopySource {
  return {
    async streamAt(snapshot, sql, signal) {
      signal.throwIfAborted();
      const client = await pool.connect();
      const entered = await enter(client, snapshot);
      return { source: copyFrom(pool, client, sql, signal), snapshot: entered.id, takenAt: entered.takenAt };
    },
    holdSnapshot: () => holdSnapshot(pool),
  };
}

function copyFrom(pool: pg.Pool, client: pg.PoolClient, sql: string, signal: AbortSignal): Readable {
  const { processID } = client as unknown as { processID: number };
  const stream = client.query(copyOut(sql));
  let settled = false;
  const finish = (error?: Error) => {
    if (settled) return;
    settled = true;
    signal.removeEventListener("abort", onAbort);
    if (!error && stream.readableEnded) return giveBack(client);
    // The connection is in the middle of a COPY: it can't be used again. Cancelling also stops a sort that has
    // not produced a row yet, which a closed socket alone would not.
    pool.query("select pg_cancel_backend($1)", [processID]).catch(() => {});
    client.release(error ?? true);
  };
  const onAbort = () => {
    const reason = signal.reason instanceof Error ? signal.reason : new Error("aborted");
    stream.destroy(reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  stream.once("end", () => finish());
  stream.once("error", (error) => finish(error));
  stream.once("close", () => finish());
  return stream;
}

function giveBack(client: pg.PoolClient): void {
  client.query("commit").then(
    () => client.release(),
    (error: Error) => client.release(error),
  );
}

/** What PostgreSQL 15 and later ones say of a snapshot that is gone. */
const SNAPSHOT_GONE: ReadonlySet<unknown> = new Set(["22023", "42704", "55000"]);
const BEGIN = "begin isolation level repeatable read read only";

/** Begins a transaction that sees what the snapshot shows, or what is there now: without one, and when it is gone. */
async function enter(
  client: pg.PoolClient,
  snapshot: SharedSnapshot | undefined,
): Promise<{ id: string | undefined; takenAt: Date }> {
  try {
    await client.query(BEGIN);
    if (snapshot && (await hasEntered(client, snapshot.id))) return snapshot;
    const { rows } = await client.query<{ at: Date }>("select now() as at");
    return { id: undefined, takenAt: rows[0]!.at };
  } catch (error) {
    client.release(error as Error);
    throw error;
  }
}

async function hasEntered(client: pg.PoolClient, id: string): Promise<boolean> {
  try {
    await client.query(`set transaction snapshot ${client.escapeLiteral(id)}`);
    return true;
  } catch (error) {
    if (!SNAPSHOT_GONE.has((error as { code?: unknown }).code)) throw error;
    await client.query("rollback");
    await client.query(BEGIN);
    return false;
  }
}
