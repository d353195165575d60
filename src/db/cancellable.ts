import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { CompiledQuery, type QueryResult, sql } from "kysely";
import type { Db } from "./client.js";

/** Between two tries to cancel: the first may come before the statement has its connection. */
const TRY_MS = 250;

/**
 * Runs one statement that is cancelled in the database when `signal` fires, whose reason is thrown then. It is found by a
 * comment of its own, which costs nothing as long as nobody cancels.
 */
export async function cancellable<Row>(db: Db, text: string, signal: AbortSignal): Promise<QueryResult<Row>> {
  signal.throwIfAborted();
  const tag = `/* ${randomUUID()} */`;
  const ended = new AbortController();
  let cancelling: Promise<void> | undefined;
  const cancel = () => {
    cancelling = cancelUntil(db, tag, ended.signal);
  };
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await db.executeQuery<Row>(CompiledQuery.raw(`${tag} ${text}`));
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", cancel);
    ended.abort();
    await cancelling;
  }
}

async function cancelUntil(db: Db, tag: string, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    await sql`
      select pg_cancel_backend(pid) from pg_stat_activity
      where state = 'active' and pid <> pg_backend_pid() and starts_with(query, ${tag})`
      .execute(db)
      .catch(() => {});
    await delay(TRY_MS, undefined, { signal: ended }).catch(() => {});
  }
}
