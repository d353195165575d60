import type pg from "pg";
import { cancellable } from "./cancellable.js";
import type { Db } from "./client.js";

/** A picture of the database that other connections may enter, as long as somebody holds it. */
export interface SharedSnapshot {
  id: string;
  takenAt: Date;
}

/** A snapshot that a connection of its own holds until it is released. */
export interface HeldSnapshot extends SharedSnapshot {
  /** Rows of a statement that sees it. Cancelled in the database when `signal` fires. */
  read<Row extends pg.QueryResultRow>(sql: string, signal: AbortSignal): Promise<Row[]>;
  release(): void;
}

/** Nothing between here and the server may take the connection for a dead one. */
const PING_MS = 60_000;

/**
 * Takes a snapshot on a connection of the pool, which gets it back when it is released. The server notices within a minute when the
 * process that holds it is gone with its machine: held on, it would keep the database from cleaning up.
 */
export async function holdSnapshot(pool: pg.Pool): Promise<HeldSnapshot> {
  const client = await pool.connect();
  const { processID } = client as unknown as { processID: number };
  try {
    await client.query("begin isolation level repeatable read read only");
    await client.query(
      "set local idle_in_transaction_session_timeout = 0; set local tcp_keepalives_idle = 30; " +
        "set local tcp_keepalives_interval = 10; set local tcp_keepalives_count = 3",
    );
    const { rows } = await client.query<{ id: string; at: Date }>(
      "select pg_export_snapshot() as id, now() as at",
    );
    const { id, at: takenAt } = rows[0]!;
    const ping = setInterval(() => void client.query("select 1").catch(() => {}), PING_MS).unref();
    return {
      id,
      takenAt,
      async read(sql, signal) {
        signal.throwIfAborted();
        let cancelled: Promise<unknown> | undefined;
        const stop = () => {
          cancelled = pool.query("select pg_cancel_backend($1)", [processID]).catch(() => {});
        };
        signal.addEventListener("abort", stop, { once: true });
        try {
          return (await client.query(sql)).rows;
        } catch (error) {
          throw signal.aborted ? signal.reason : error;
        } finally {
          signal.removeEventListener("abort", stop);
          // It must not reach the next user of the connection.
          await cancelled;
        }
      },
      release() {
        clearInterval(ping);
        client.query("commit").then(
          () => client.release(),
          (error: Error) => client.release(error),
        );
      },
    };
  } catch (error) {
    client.release(error as Error);
    throw error;
  }
}

/** Reads what is there at the moment, for whoever needs no more than one statement. */
export const readerOf = (db: Db): Pick<HeldSnapshot, "read"> => ({
  read: async <Row extends pg.QueryResultRow>(sql: string, signal: AbortSignal) =>
    (await cancellable<Row>(db, sql, signal)).rows,
});
