import { sql } from "kysely";
import type { Db } from "./client.js";

/** Tables above this are left to autovacuum: twice as many rows no longer make another plan the best. */
const LARGE_PAGES = 10_000;
/** What a table may hold before anything has to be known of it. */
const SMALL_PAGES = 10;
/** Fewer do not make a small table large. */
const MANY_ROWS = 500;

/**
 * Analyzes the tables that have more than doubled since they last were; returns their names. Autovacuum would do it, but
 * up to a minute later, and until then statements run with plans from when there was next to nothing: every index of
 * an empty table costs the same, so each message may be looked for among all of an account's. To analyze a table also
 * ends the plans that connections keep. Cost: a look at the size of each table; 30,000 sampled rows at most for those that
 * have grown; none at all after a change of few rows. Waits for nobody: what somebody else is at is left to them.
 */
export async function analyzeGrown(db: Db, changedRows: number): Promise<string[]> {
  if (changedRows < MANY_ROWS) return [];
  const { rows } = await sql<{ name: string }>`
    select oid::regclass::text as name from pg_class
    where relnamespace = current_schema()::regnamespace and relkind = 'r'
      and case when relpages < ${LARGE_PAGES}
        then pg_relation_size(oid) > (2 * relpages + ${SMALL_PAGES}) * current_setting('block_size')::bigint end`.execute(
    db,
  );
  for (const { name } of rows) await sql`analyze (skip_locked) ${sql.raw(name)}`.execute(db);
  return rows.map(({ name }) => name);
}
