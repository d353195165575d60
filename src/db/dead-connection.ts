import type { Socket } from "node:net";
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import pg from "pg";

/** What the driver keeps to itself. */
interface Driver {
  connection: { stream: Socket };
  processID: number;
  readyForQuery: boolean;
}

/**
 * How often a connection is looked at; silent for two looks, it is asked about. An answer that was on its way then has
 * arrived a second later. Only tests have other values.
 */
const shippedTimes = { lookMs: 5_000, arrivedMs: 1_000, answerMs: 5_000 };

/**
 * Cuts a connection that is dead though nobody has ended it, as behind a firewall that has forgotten it. The kernel finds
 * an idle one within 20 s, but takes a quarter of an hour over one with a question on its way; and all that shows is silence,
 * as of a long statement. So the server is asked over a new connection: a session that waits for us, while we wait for it,
 * is dead. It is ended too, for it may hold locks. While the server cannot be asked, nothing is known and nothing done.
 */
export function cutWhenDead(client: pg.ClientBase, config: pg.ClientConfig, times = shippedTimes): void {
  const driver = client as unknown as Driver;
  const { stream } = driver.connection;
  /** Bytes that had come when something was waited for at the last look. */
  let heard: number | undefined;
  let asking = false;
  // What lies unread is no silence: somebody takes the rows slowly.
  const isSilent = () => stream.bytesRead === heard && stream.readableLength === 0;
  const look = async () => {
    if (!isSilent()) heard = driver.readyForQuery ? undefined : stream.bytesRead;
    else if (await endIfIdle(driver.processID, config, times, isSilent)) {
      // As the kernel would say in the end.
      const error = new Error("the connection to the database was dead: its server waited as well");
      stream.destroy(Object.assign(error, { code: "ETIMEDOUT" }));
    }
  };
  const timer = setInterval(() => {
    if (asking) return;
    asking = true;
    void look()
      .catch(() => {})
      .finally(() => {
        asking = false;
      });
  }, times.lookMs).unref();
  client.once("end", () => clearInterval(timer));
}

/**
 * Ends a session that does nothing but wait for its client, and tells whether it did or found none. Behind a pooler, whose
 * numbers of sessions are its own, nobody can tell.
 */
async function endIfIdle(
  processID: number,
  config: pg.ClientConfig,
  { arrivedMs, answerMs }: typeof shippedTimes,
  isSilent: () => boolean,
): Promise<boolean> {
  const asker = new pg.Client({ ...config, connectionTimeoutMillis: answerMs, query_timeout: answerMs });
  asker.on("error", () => {});
  try {
    await asker.connect();
    const { rows } = await asker.query<{ waits: boolean }>(
      `select pg_backend_pid() = $1 and not exists (
         select from pg_stat_activity
         where pid = $2 and coalesce(state, 'active') in ('active', 'disabled')
           and wait_event_type is distinct from 'Client') as waits`,
      [(asker as unknown as Driver).processID, processID],
    );
    if (!rows[0]!.waits) return false;
    await delay(arrivedMs);
    // When this process was busy until now, the answer may lie in the socket: it is read before the next turn.
    await nextTurn();
    if (!isSilent()) return false;
    await asker.query("select pg_terminate_backend($1)", [processID]);
    return true;
  } finally {
    // Not waited for: this one may be dead by now as well.
    asker.end().catch(() => {});
  }
}
