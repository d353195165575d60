import { sql } from "kysely";
import type { Db } from "./client.js";

/**
 * Work on a connection of its own without the bounds of ordinary statements: it may take as long as `signal` allows.
 * When that fires the running statement is cancelled in the database and the signal's reason is thrown; when this process
 * dies the server notices within ten seconds, so that no lock outlives its holder for long.
 */
export async function longSession<T>(
  db: Db,
  signal: AbortSignal,
  work: (session: Db) => Promise<T>,
): Promise<T> {
  return db.connection().execute(async (session) => {
    const { rows } = await sql<{ pid: number }>`
      select pg_backend_pid() as pid, set_config('statement_timeout', '0', false),
             set_config('lock_timeout', '0', false),
             case when version() !~* 'visual|mingw' then
               set_config('client_connection_check_interval', '10s', false) end`.execute(session);
    let cancelled: Promise<unknown> | undefined;
    const cancel = () => {
      cancelled = sql`select pg_cancel_backend(${rows[0]!.pid})`.execute(db).catch(() => {});
    };
    signal.addEventListener("abort", cancel);
    try {
      // It may have fired while the connection was waited for.
      signal.throwIfAborted();
      return await work(session);
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener("abort", cancel);
      // It must not reach the next user of the connection.
      await cancelled;
      // Back to what the connection was opened with. One that is broken will not be used again.
      await sql`reset all`.execute(session).catch(() => {});
    }
  });
}
