import { Migrator } from "kysely";
import type { Db } from "./client.js";
import { migrations } from "./migrations/index.js";
import { settleInstallation } from "./queries/installation.js";
import { ensurePartitions } from "./queries/partitions.js";

/**
 * Brings the schema up to date; several processes may start it at once (the migrator holds an advisory lock, and
 * what follows it is idempotent). Returns the migrations that this call applied. Throws when one fails: the whole
 * set is one transaction, so nothing of it stays.
 */
export async function migrateDatabase(db: Db, now: Date): Promise<{ applied: string[]; restored: boolean }> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error, results } = await migrator.migrateToLatest();
  if (error) throw error;
  const { restored } = await settleInstallation(db);
  await ensurePartitions(db, now);
  const applied = (results ?? []).filter((result) => result.status === "Success");
  return { applied: applied.map((result) => result.migrationName), restored };
}

/** Names of migrations that this build knows and the database lacks, or the other way round. Empty = in step. */
export async function schemaDifference(db: Db): Promise<string[]> {
  const applied = await db
    .withTables<{ kysely_migration: { name: string } }>()
    .selectFrom("kysely_migration")
    .select("name")
    .execute();
  const names = new Set(applied.map((row) => row.name));
  const missing = Object.keys(migrations).filter((name) => !names.has(name));
  const unknown = [...names].filter((name) => !(name in migrations));
  return [...missing, ...unknown];
}
