import { sql } from "kysely";
import type { Db } from "../client.js";

/** One that was killed is forgotten after this. */
const FORGOTTEN_AFTER = sql`interval '1 hour'`;

/** Says that a worker process is alive, and how many jobs of each queue it runs at a time. */
export async function beatWorker(
  db: Db,
  worker: { workerId: string; name: string; slots: number },
): Promise<void> {
  await sql`
    with forgotten as (delete from workers where seen_at < now() - ${FORGOTTEN_AFTER})
    insert into workers (worker_id, name, slots) values (${worker.workerId}, ${worker.name}, ${worker.slots})
    on conflict (worker_id) do update set seen_at = now()`.execute(db);
}

/** A worker that has not been seen for so long counts as gone. */
const GONE_AFTER_SECONDS = 15;

export const isAliveSql = sql<boolean>`seen_at > now() - ${sql.lit(GONE_AFTER_SECONDS)} * interval '1 second'`;

export const liveWorkers = (db: Db): Promise<{ name: string; slots: number; seen_at: Date }[]> =>
  db.selectFrom("workers").select(["name", "slots", "seen_at"]).where(isAliveSql).orderBy("name").execute();

export async function removeWorker(db: Db, workerId: string): Promise<void> {
  await db.deleteFrom("workers").where("worker_id", "=", workerId).execute();
}
