import { createDb, createPool } from "./db/client.js";
import { migrateDatabase } from "./db/migrate.js";
import { migrateQueues } from "./jobs/queue.js";
import type { Log } from "./log.js";

/**
 * Brings a database up to date: our tables, and the queues' own, so that a later change to or from Redis needs no
 * extra step. Safe to run from several processes at once and again at any time.
 */
export async function migrate(databaseUrl: string, log: Log): Promise<void> {
  const pool = createPool({ url: databaseUrl, name: "migrate", size: 2, statementTimeoutMs: 0 }, (error) =>
    log.warn("database connection lost", { error }),
  );
  try {
    const { applied, restored } = await migrateDatabase(createDb(pool), new Date());
    await migrateQueues(databaseUrl);
    if (applied.length > 0) log.info("migrated", { applied });
    if (restored) log.warn("the data moved to another cluster: every account will be folded anew");
  } finally {
    await pool.end();
  }
}
