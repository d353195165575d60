import type { Readable } from "node:stream";
import type pg from "pg";
import { copyOut } from "./copy-out.js";
import { type HeldSnapshot, holdSnapshot, type SharedSnapshot } from "./held-snapshot.js";

/** Streams `COPY (…) TO STDOUT`. Rows never become JavaScript objects. */
export interface CopySource {
  /**
   * Runs a COPY statement on a connection of its own. The statement is cancelled in the database and the connection
   * dropped when `signal` fires or the stream is destroyed early, so nothing keeps running for a reader that left.
   */
  stream(sql: string, signal: AbortSignal): Promise<Readable>;
  /**
   * The same of the rows that a snapshot shows. When nobody holds it any more the rows are those of now: the answer has no
   * `snapshot`, and its `takenAt` is another.
   */
  streamAt(
    snapshot: SharedSnapshot,
    sql: string,
    signal: AbortSignal,
  ): Promise<{ source: Readable; snapshot: string | undefined; takenAt: Date }>;
  /** A picture of the database that other connections can share, for as long as it is held. */
  holdSnapshot(): Promise<HeldSnapshot>;
}

export function createCopySource(pool: pg.Pool): CopySource {
  return {
    async stream(sql, signal) {
      signal.throwIfAborted();
      return copyFrom(pool, await pool.connect(), sql, signal, false);
    },
    async streamAt({ id, takenAt }, sql, signal) {
      signal.throwIfAborted();
      const client = await pool.connect();
      const later = await enterSnapshot(client, id);
      const source = copyFrom(pool, client, sql, signal, true);
      return later ? { source, snapshot: undefined, takenAt: later } : { source, snapshot: id, takenAt };
    },
    holdSnapshot: () => holdSnapshot(pool),
  };
}

function copyFrom(
  pool: pg.Pool,
  client: pg.PoolClient,
  sql: string,
  signal: AbortSignal,
  inTransaction: boolean,
): Readable {
  const { processID } = client as unknown as { processID: number };
  const stream = client.query(copyOut(sql));
  let settled = false;
  const finish = (error?: Error) => {
    if (settled) return;
    settled = true;
    signal.removeEventListener("abort", onAbort);
    if (!error && stream.readableEnded) return giveBack(client, inTransaction);
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

function giveBack(client: pg.PoolClient, inTransaction: boolean): void {
  const ended = inTransaction ? client.query("commit") : Promise.resolve();
  ended.then(
    () => client.release(),
    (error: Error) => client.release(error),
  );
}

async function enterNow(client: pg.PoolClient): Promise<Date> {
  try {
    await client.query("rollback");
    await client.query("begin isolation level repeatable read read only");
    const { rows } = await client.query<{ at: Date }>("select now() as at");
    return rows[0]!.at;
  } catch (error) {
    client.release(error as Error);
    throw error;
  }
}

/** What PostgreSQL 15 and later ones say of a snapshot that is gone. */
const SNAPSHOT_GONE: ReadonlySet<unknown> = new Set(["22023", "42704", "55000"]);

/**
 * Begins a transaction that sees what the snapshot shows. When that is gone the transaction sees what is there now, and the
 * answer says when that is.
 */
async function enterSnapshot(client: pg.PoolClient, id: string): Promise<Date | undefined> {
  try {
    await client.query("begin isolation level repeatable read read only");
    await client.query(`set transaction snapshot ${client.escapeLiteral(id)}`);
    return undefined;
  } catch (error) {
    if (!SNAPSHOT_GONE.has((error as { code?: unknown }).code)) {
      client.release(error as Error);
      throw error;
    }
    return enterNow(client);
  }
}
