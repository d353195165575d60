import { sql } from "kysely";
import type { Db } from "../client.js";
import type { RunKind } from "../schema.js";
import { type Run, runColumns } from "./runs.js";

export interface ParkedFilter {
  accountId?: string | undefined;
  kind?: RunKind | undefined;
  runIds?: readonly string[] | undefined;
  /** Of runs that were parked before this one, the newest first. */
  before?: { parkedAt: Date; runId: string } | undefined;
}

/** Runs that kept killing their workers, the newest first. Reads the partial index of parked runs. */
export async function parkedRuns(db: Db, filter: ParkedFilter, limit: number): Promise<Run[]> {
  let query = db.selectFrom("runs").select(runColumns).where("parked_at", "is not", null);
  if (filter.accountId !== undefined) query = query.where("account_id", "=", filter.accountId);
  if (filter.kind) query = query.where("kind", "=", filter.kind);
  if (filter.runIds) query = query.where("run_id", "=", sql<string>`any(${[...filter.runIds]}::uuid[])`);
  if (filter.before)
    query = query.where(
      sql<boolean>`(parked_at, run_id) < (${filter.before.parkedAt}, ${filter.before.runId}::uuid)`,
    );
  return query.orderBy("parked_at", "desc").orderBy("run_id", "desc").limit(limit).execute();
}
