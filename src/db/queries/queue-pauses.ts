import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";

export type QueuePause = Selectable<Database["queue_pauses"]>;

/** Idempotent: who paused it first, and when, stays. */
export async function pauseQueue(db: Db, queue: string, pausedBy: string): Promise<QueuePause> {
  return db
    .insertInto("queue_pauses")
    .values({ queue, paused_by: pausedBy })
    .onConflict((conflict) =>
      conflict.column("queue").doUpdateSet({ paused_by: sql.ref("queue_pauses.paused_by") }),
    )
    .returningAll()
    .executeTakeFirstOrThrow();
}

export async function resumeQueue(db: Db, queue: string): Promise<void> {
  await db.deleteFrom("queue_pauses").where("queue", "=", queue).execute();
}

export const listQueuePauses = (db: Db): Promise<QueuePause[]> =>
  db.selectFrom("queue_pauses").selectAll().orderBy("queue").execute();
