import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import { isBehind, type NewestFirst } from "../newest-first.js";
import type { Artifact, Database, RunError, RunKind, RunPriority, RunStatus, Upload } from "../schema.js";
import { likelyTurnSql, mayWaitSql, positionSql } from "./admission.js";
import { endRuns } from "./notify.js";

/** All of a run but its artifact, which whoever needs it reads with `readArtifact`. */
export const runColumns = [
  ...(["account_id", "run_id", "kind", "status", "priority", "turn", "eligible", "params"] as const),
  ...(["requested_by", "generation", "fence", "attempt", "max_attempts", "worker", "heartbeat_at"] as const),
  ...(["cancel_requested_at", "progress_rows", "progress_total_rows", "progress_bytes", "file"] as const),
  ...(["result", "error", "upload", "cursor", "schedule_id", "created_at", "enqueued_at"] as const),
  ...(["parked_at", "started_at", "finished_at", "updated_at"] as const),
] as const satisfies readonly (keyof Database["runs"])[];

export type Run = Selectable<Pick<Database["runs"], (typeof runColumns)[number]>>;

/** What a job carries: the row has everything else. `generation` rises with every retry that a user asks for. */
export interface RunKey {
  accountId: string;
  runId: string;
  generation: number;
}

/** What a worker holds while it works on a run; every write it makes names the fence. */
export interface Claim {
  accountId: string;
  runId: string;
  fence: number;
}

/** The queue's id for the work on a run. Another generation is other work. */
export const runJobId = (key: RunKey): string => `${key.runId}-g${key.generation}`;

/**
 * Adds a run that waits to be admitted, and says its place in line. Undefined when there is one with this id already, or its
 * account has as many runs of the kind waiting as it may: `maxWaiting`, unless the account has a bound of its own.
 */
export async function insertRun(
  db: Db,
  run: {
    accountId: string;
    kind: RunKind;
    priority: RunPriority;
    params: Record<string, unknown>;
    requestedBy: string;
    /** A random one unless given. */
    runId?: string | undefined;
    /** The file it reads, which is stored under its id before. */
    upload?: Upload;
    scheduleId?: string;
    maxWaiting: number;
  },
): Promise<(Run & { position: number }) | undefined> {
  return db
    .insertInto("runs")
    .columns([
      ...(["account_id", "created_at", "kind", "priority", "turn", "params", "requested_by"] as const),
      ...(run.runId ? (["run_id"] as const) : []),
      ...(run.upload ? (["upload"] as const) : []),
      ...(run.scheduleId ? (["schedule_id"] as const) : []),
    ])
    .expression(
      db
        .selectNoFrom([
          sql<string>`${run.accountId}::text`.as("account_id"),
          // As exact as a cursor and a JavaScript date can say it; a finer time would hide runs of the same millisecond.
          sql<Date>`date_trunc('milliseconds', now())`.as("created_at"),
          sql<RunKind>`${run.kind}::run_kind`.as("kind"),
          sql<RunPriority>`${run.priority}::run_priority`.as("priority"),
          likelyTurnSql(run.accountId, run.kind, sql.lit(run.priority)).as("turn"),
          sql`${JSON.stringify(run.params)}::jsonb`.as("params"),
          sql<string>`${run.requestedBy}::text`.as("requested_by"),
          ...(run.runId ? [sql<string>`${run.runId}::uuid`.as("run_id")] : []),
          ...(run.upload ? [sql`${JSON.stringify(run.upload)}::jsonb`.as("upload")] : []),
          ...(run.scheduleId ? [sql<string>`${run.scheduleId}::uuid`.as("schedule_id")] : []),
        ])
        .where(mayWaitSql(run.accountId, run.kind, run.maxWaiting)),
    )
    .onConflict((conflict) => conflict.doNothing())
    .returning(runColumns)
    .returning(
      positionSql({
        kind: sql.ref("runs.kind"),
        turn: sql.ref("runs.turn"),
        createdAt: sql.ref("runs.created_at"),
        runId: sql.ref("runs.run_id"),
        enqueuedAt: sql.ref("runs.enqueued_at"),
      }).as("position"),
    )
    .executeTakeFirst();
}

/** `accounts` undefined: all of them. Runs of other accounts are as good as absent. */
export async function findRun(
  db: Db,
  kind: RunKind,
  runId: string,
  accounts: readonly string[] | undefined,
): Promise<Run | undefined> {
  let query = db.selectFrom("runs").select(runColumns).where("run_id", "=", runId).where("kind", "=", kind);
  if (accounts) query = query.where("account_id", "in", accounts.length > 0 ? [...accounts] : [""]);
  return query.executeTakeFirst();
}

/** A run that is being worked on under this claim, whatever its kind. */
export const findHeldRun = (db: Db, { accountId, runId, fence }: Claim): Promise<Run | undefined> =>
  db
    .selectFrom("runs")
    .select(runColumns)
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .where("fence", "=", fence)
    .where("status", "=", "running")
    .executeTakeFirst();

export async function listRuns(
  db: Db,
  filter: {
    kind: RunKind;
    accountId: string;
    status?: RunStatus | undefined;
  } & NewestFirst,
): Promise<Run[]> {
  let query = db
    .selectFrom("runs")
    .select(runColumns)
    .where("account_id", "=", filter.accountId)
    .where("kind", "=", filter.kind);
  if (filter.status) query = query.where("status", "=", filter.status);
  if (filter.before) query = query.where(isBehind(filter.before, "run_id"));
  return query.orderBy("created_at", "desc").orderBy("run_id", "desc").limit(filter.limit).execute();
}

/** A job for the run was put into the queue again. */
export async function markEnqueued(db: Db, key: RunKey): Promise<void> {
  await db
    .updateTable("runs")
    .set({ enqueued_at: sql<Date>`now()` })
    .where("account_id", "=", key.accountId)
    .where("run_id", "=", key.runId)
    .where("generation", "=", key.generation)
    .execute();
}

/**
 * Takes a run to work on it. A higher fence shuts out whoever held it before, alive or not: their next write finds no
 * row. Undefined when there is nothing to do: finished, cancelled, or another generation.
 */
export async function claimRun(db: Db, key: RunKey, worker: string): Promise<Run | undefined> {
  return db
    .updateTable("runs")
    .set((eb) => ({
      status: "running" as const,
      fence: eb("fence", "+", 1),
      attempt: eb("attempt", "+", 1),
      worker,
      error: null,
      heartbeat_at: sql<Date>`now()`,
      // Also where it is claimed without having been admitted, whoever enqueued it.
      enqueued_at: sql<Date>`coalesce(enqueued_at, now())`,
      started_at: sql<Date>`coalesce(started_at, now())`,
      updated_at: sql<Date>`now()`,
      progress_rows: 0,
      progress_bytes: 0,
    }))
    .where("account_id", "=", key.accountId)
    .where("run_id", "=", key.runId)
    .where("generation", "=", key.generation)
    .where("status", "in", ["queued", "running"])
    .where("cancel_requested_at", "is", null)
    .returning(runColumns)
    .executeTakeFirst();
}

export interface Progress {
  rows: number;
  totalRows?: number | undefined;
  bytes: number;
}

/** Says that the worker is alive and how far it is. `lost`: somebody else holds the run now. */
export async function beatRun(
  db: Db,
  claim: Claim,
  progress: Progress,
): Promise<"held" | "cancel_requested" | "lost"> {
  const row = await db
    .updateTable("runs")
    .set({
      heartbeat_at: sql<Date>`now()`,
      updated_at: sql<Date>`now()`,
      progress_rows: progress.rows,
      progress_bytes: progress.bytes,
      ...(progress.totalRows === undefined ? {} : { progress_total_rows: progress.totalRows }),
    })
    .where("account_id", "=", claim.accountId)
    .where("run_id", "=", claim.runId)
    .where("fence", "=", claim.fence)
    .where("status", "=", "running")
    .returning("cancel_requested_at")
    .executeTakeFirst();
  if (!row) return "lost";
  return row.cancel_requested_at ? "cancel_requested" : "held";
}

export type Outcome =
  | { status: "succeeded"; artifact?: Artifact | undefined; result?: Record<string, unknown> | undefined }
  | { status: "failed"; error: RunError }
  | { status: "cancelled" }
  /** Will be tried again: `error` says why, `spendAttempt: false` when the worker only had to leave. */
  | { status: "queued"; error?: RunError | undefined; spendAttempt: boolean };

/**
 * The one statement that makes the outcome of a run visible. False when the claim no longer holds: then nothing was
 * published, and whatever the worker made is its own to clean up. A run that was to be cancelled is not queued again.
 */
export async function settleRun(
  db: Db,
  claim: Claim,
  outcome: Outcome,
  progress?: Progress,
): Promise<boolean> {
  const finished = outcome.status !== "queued";
  const cancelled = sql<boolean>`cancel_requested_at is not null`;
  const update = db
    .updateTable("runs")
    .set((eb) => ({
      status: finished
        ? outcome.status
        : sql<RunStatus>`case when ${cancelled} then 'cancelled'::run_status else 'queued' end`,
      updated_at: sql<Date>`now()`,
      finished_at: finished ? sql<Date>`now()` : sql<Date | null>`case when ${cancelled} then now() end`,
      heartbeat_at: null,
      worker: null,
      ...(progress && { progress_rows: progress.rows, progress_bytes: progress.bytes }),
      ...(progress && outcome.status === "succeeded" ? { progress_total_rows: progress.rows } : {}),
      ...("artifact" in outcome && outcome.artifact ? { artifact: JSON.stringify(outcome.artifact) } : {}),
      ...("result" in outcome && outcome.result ? { result: JSON.stringify(outcome.result) } : {}),
      ...("error" in outcome && outcome.error ? { error: JSON.stringify(outcome.error) } : {}),
      ...(outcome.status === "queued" && !outcome.spendAttempt ? { attempt: eb("attempt", "-", 1) } : {}),
    }))
    .where("account_id", "=", claim.accountId)
    .where("run_id", "=", claim.runId)
    .where("fence", "=", claim.fence)
    .where("status", "=", "running")
    .returning(runColumns);
  return (await endRuns(db, sql`${update}`)).length > 0;
}

/**
 * For a run that its worker can no longer speak for: the queue gave the job up. Parked, it keeps the name and the last
 * heartbeat of the worker, and only an operator starts it again. Undefined when it is not open any more.
 */
export async function failAbandonedRun(
  db: Db,
  key: RunKey,
  error: RunError,
  { park }: { park: boolean },
): Promise<Run | undefined> {
  const update = db
    .updateTable("runs")
    .set((eb) => ({
      status: "failed" as const,
      error: JSON.stringify(error),
      fence: eb("fence", "+", 1),
      finished_at: sql<Date>`now()`,
      updated_at: sql<Date>`now()`,
      ...(park ? { parked_at: sql<Date>`now()` } : { worker: null }),
    }))
    .where("account_id", "=", key.accountId)
    .where("run_id", "=", key.runId)
    .where("generation", "=", key.generation)
    .where("status", "in", ["queued", "running"])
    .returning(runColumns);
  return (await endRuns(db, sql`${update}`))[0];
}

/**
 * Asks for a run to stop. A queued one is cancelled here and now; a running one is told, and its worker stops at its
 * next heartbeat; a finished one stays as it is. A running one whose worker has gone silent is cancelled at once.
 */
export async function requestCancel(
  db: Db,
  accountId: string,
  runId: string,
  /** Of the run that is meant; any unless given. */
  generation?: number,
): Promise<Run | undefined> {
  const idle = sql<boolean>`(status = 'queued' or heartbeat_at is null or heartbeat_at < now() - interval '10 seconds')`;
  const update = db
    .updateTable("runs")
    .set((eb) => ({
      cancel_requested_at: sql<Date>`coalesce(cancel_requested_at, now())`,
      status: sql<RunStatus>`case when ${idle} then 'cancelled' else status end`,
      fence: sql<number>`case when ${idle} then fence + 1 else fence end`,
      finished_at: sql<Date>`case when ${idle} then now() else finished_at end`,
      updated_at: sql<Date>`now()`,
      worker: eb.ref("worker"),
    }))
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .where(generation === undefined ? sql<boolean>`true` : sql<boolean>`generation = ${generation}`)
    .where("status", "in", ["queued", "running"])
    .returning(runColumns);
  return (await endRuns(db, sql`${update}`))[0];
}

/**
 * Starts a failed or cancelled run over: same parameters, attempts from zero; an import goes on where it was. Undefined when
 * it is neither, is parked (or is not, where those are meant), the file it reads is gone, or its account has as many
 * runs of the kind waiting as it may, where `maxWaiting` says that this counts.
 */
export async function restartRun(
  db: Db,
  accountId: string,
  runId: string,
  { parked = false, maxWaiting }: { parked?: boolean; maxWaiting?: number } = {},
): Promise<Run | undefined> {
  return db
    .updateTable("runs")
    .set((eb) => ({
      status: "queued" as const,
      generation: eb("generation", "+", 1),
      attempt: 0,
      error: null,
      result: null,
      cancel_requested_at: null,
      turn: likelyTurnSql(accountId, eb.ref("runs.kind"), eb.ref("runs.priority")),
      eligible: false,
      enqueued_at: null,
      parked_at: null,
      worker: null,
      heartbeat_at: null,
      started_at: null,
      finished_at: null,
      progress_rows: 0,
      progress_bytes: 0,
      updated_at: sql<Date>`now()`,
    }))
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .where("status", "in", ["failed", "cancelled"])
    .where("parked_at", parked ? "is not" : "is", null)
    .$if(maxWaiting !== undefined, (query) =>
      query.where((eb) => mayWaitSql(accountId, eb.ref("runs.kind"), maxWaiting!)),
    )
    .where(sql<boolean>`not coalesce(upload ? 'removed', false)`)
    .returning(runColumns)
    .executeTakeFirst();
}

/**
 * Admitted runs that nobody seems to work on: queued for longer than `idleMs`, or running without a heartbeat for as
 * long. The sweep asks the queue about each of them.
 */
export async function idleRuns(db: Db, idleMs: number, limit: number): Promise<Run[]> {
  return db
    .selectFrom("runs")
    .select(runColumns)
    .where("status", "in", ["queued", "running"])
    .where("enqueued_at", "is not", null)
    .where(sql<boolean>`coalesce(heartbeat_at, enqueued_at) < now() - ${idleMs} * interval '1 millisecond'`)
    .orderBy("created_at")
    .limit(limit)
    .execute();
}
