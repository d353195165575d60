import { sql } from "kysely";
import type { Db } from "../client.js";
import type { Artifact } from "../schema.js";
import type { Run } from "./runs.js";

/** The predicate of the indexes of files that are there. */
export const hasFile = sql<boolean>`file_bytes is not null`;
/** RFC 3339 in UTC with milliseconds sorts as text, so that these indexes serve. Once for a statement, not for each row. */
export const nowText = sql<string>`(select to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`;

/** All about a run's file: what it is made of, and what is in it. */
export async function readArtifact(
  db: Db,
  { account_id, run_id }: Pick<Run, "account_id" | "run_id">,
): Promise<Artifact | null> {
  const row = await db
    .selectFrom("runs")
    .select("artifact")
    .where("account_id", "=", account_id)
    .where("run_id", "=", run_id)
    .executeTakeFirst();
  return row?.artifact ?? null;
}

/**
 * Of these keys of the store, each with its run, those whose file the run reads, has published, or may still publish. One
 * statement, so that no run can publish its parts between two looks.
 */
export async function liveArtifacts(
  db: Db,
  files: readonly { runId: string; key: string }[],
): Promise<Set<string>> {
  const { rows } = await sql<{ runId: string; isRunning: boolean; keys: string[] }>`
    select r.run_id as "runId", r.status = 'running' as "isRunning", array(
      select r.upload ->> 'key' where not r.upload ? 'removed'
      union all select jsonb_path_query(r.artifact, '$.segments[*].key') #>> '{}'
      union all select p.key from export_parts p
        where p.account_id = r.account_id and p.run_id = r.run_id and p.key is not null
    ) as keys
    from runs r where r.run_id = any(${[...new Set(files.map(({ runId }) => runId))]}::uuid[])`.execute(db);
  const running = new Set(rows.filter((row) => row.isRunning).map((row) => row.runId));
  const named = new Set(rows.flatMap((row) => row.keys));
  return new Set(
    files.filter(({ runId, key }) => running.has(runId) || named.has(key)).map(({ key }) => key),
  );
}

/** Files past their time: they can go, their runs' rows stay and say so. */
export async function expiredArtifacts(
  db: Db,
  limit: number,
): Promise<{ accountId: string; runId: string; segments: Artifact["segments"] }[]> {
  const { rows } = await sql<{ accountId: string; runId: string; segments: Artifact["segments"] }>`
    select account_id as "accountId", run_id as "runId", artifact -> 'segments' as segments
    from runs where ${hasFile} and file_expires_at < ${nowText}
    limit ${limit}`.execute(db);
  return rows;
}

/** What a file was made of goes with it: of many parts, that is much. */
export async function markArtifactRemoved(db: Db, accountId: string, runId: string): Promise<void> {
  await sql`
    update runs set artifact = (artifact - 'content') || '{"removed": true, "segments": []}'
    where account_id = ${accountId} and run_id = ${runId}`.execute(db);
}
