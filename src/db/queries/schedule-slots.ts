import { sql } from "kysely";
import type { SlotOutcome } from "../../analytics/due-slots.js";
import type { Db } from "../client.js";
import type { RunError, RunKind, RunStatus } from "../schema.js";
import { likelyTurnSql } from "./admission.js";
import type { RunKey } from "./runs.js";
import type { Schedule, ScheduleKey } from "./schedules.js";

/**
 * Locks the schedules that have to be looked at, or `only` the one, if it has to; those that another step holds are left
 * to it. For the transaction that records what was decided.
 */
export async function lockDueSchedules(
  trx: Db,
  now: Date,
  limit: number,
  only?: ScheduleKey,
): Promise<Schedule[]> {
  let query = trx.selectFrom("schedules").selectAll().where("look_at", "<=", now);
  if (only) query = query.where("account_id", "=", only.accountId).where("schedule_id", "=", only.scheduleId);
  return query.orderBy("look_at").limit(limit).forUpdate().skipLocked().execute();
}

export interface ScheduleLine {
  isBusy: boolean;
  waiting: number;
  first: { fireAt: Date; from: Date; to: Date } | undefined;
}

/**
 * What stands before the next slot of each of these schedules, in their order. Read by a statement of its own, after the
 * lock: it sees whatever was committed under it before.
 */
export async function readLines(trx: Db, keys: readonly ScheduleKey[]): Promise<ScheduleLine[]> {
  const { rows } = await sql<{
    is_busy: boolean;
    waiting: number;
    fire_at: Date | null;
    range_from: Date;
    range_to: Date;
  }>`
    select
      exists (select from runs run where run.account_id = asked.account_id and run.schedule_id = asked.schedule_id
              and run.status in ('queued', 'running')) as is_busy,
      (select count(*) from schedule_slots slot where slot.account_id = asked.account_id
         and slot.schedule_id = asked.schedule_id and slot.outcome = 'waiting') as waiting,
      head.*
    from unnest(${keys.map((key) => key.accountId)}::text[], ${keys.map((key) => key.scheduleId)}::uuid[])
        with ordinality asked (account_id, schedule_id, place)
      left join lateral (
        select slot.fire_at, slot.range_from, slot.range_to from schedule_slots slot
        where slot.account_id = asked.account_id and slot.schedule_id = asked.schedule_id
          and slot.outcome = 'waiting'
        order by slot.fire_at
        limit 1
      ) head on true
    order by asked.place`.execute(trx);
  return rows.map((row) => ({
    isBusy: row.is_busy,
    waiting: row.waiting,
    first: row.fire_at ? { fireAt: row.fire_at, from: row.range_from, to: row.range_to } : undefined,
  }));
}

/** A run to be made; its id is given, so that slot and run can name each other. */
export interface RunToMake {
  runId: string;
  params: Record<string, unknown>;
}

export interface SlotToRecord {
  fireAt: Date;
  outcome: SlotOutcome;
  reason: string | null;
  from: Date;
  to: Date;
  run: RunToMake | undefined;
}

/** What a look at one schedule has come to. */
export interface Look {
  schedule: Schedule;
  /** The head of the line, whose turn it is. */
  start: { fireAt: Date; run: RunToMake } | undefined;
  slots: readonly SlotToRecord[];
  nextFireAt: Date | null;
  lookAt: Date | null;
}

export interface MadeRun {
  kind: RunKind;
  key: RunKey;
}

/**
 * Writes down what the looks have come to: slots, runs, and when to look again. A slot that is there already stays as it
 * is and gets no second run, so a clock that goes back does no harm.
 */
export async function recordLooks(trx: Db, looks: readonly Look[], now: Date): Promise<MadeRun[]> {
  const slots = looks.flatMap(({ schedule, slots }) => slots.map((slot) => ({ schedule, slot })));
  const recorded = await sql<{ run_id: string | null }>`
    insert into schedule_slots
      (account_id, schedule_id, fire_at, outcome, reason, range_from, range_to, run_id, created_at)
    select slot.*, ${now}::timestamptz
    from unnest(
      ${slots.map(({ schedule }) => schedule.account_id)}::text[],
      ${slots.map(({ schedule }) => schedule.schedule_id)}::uuid[],
      ${slots.map(({ slot }) => slot.fireAt.toISOString())}::timestamptz[],
      ${slots.map(({ slot }) => slot.outcome)}::slot_outcome[],
      ${slots.map(({ slot }) => slot.reason)}::text[],
      ${slots.map(({ slot }) => slot.from.toISOString())}::timestamptz[],
      ${slots.map(({ slot }) => slot.to.toISOString())}::timestamptz[],
      ${slots.map(({ slot }) => slot.run?.runId ?? null)}::uuid[]
    ) slot
    on conflict do nothing
    returning run_id`.execute(trx);
  const starts = looks.flatMap(({ schedule, start }) => (start ? [{ schedule, start }] : []));
  const started = await sql<{ run_id: string }>`
    update schedule_slots slot set outcome = 'queued', run_id = head.run_id
    from unnest(
      ${starts.map(({ schedule }) => schedule.account_id)}::text[],
      ${starts.map(({ schedule }) => schedule.schedule_id)}::uuid[],
      ${starts.map(({ start }) => start.fireAt.toISOString())}::timestamptz[],
      ${starts.map(({ start }) => start.run.runId)}::uuid[]
    ) head (account_id, schedule_id, fire_at, run_id)
    where slot.account_id = head.account_id and slot.schedule_id = head.schedule_id
      and slot.fire_at = head.fire_at and slot.outcome = 'waiting'
    returning slot.run_id`.execute(trx);
  const wanted = new Set([...recorded.rows, ...started.rows].map((row) => row.run_id));
  const runs = [
    ...starts.map(({ schedule, start }) => ({ schedule, run: start.run })),
    ...slots.flatMap(({ schedule, slot }) => (slot.run ? [{ schedule, run: slot.run }] : [])),
  ].filter(({ run }) => wanted.has(run.runId));
  await insertRuns(trx, runs);
  await sql`
    update schedules schedule set next_fire_at = look.next_fire_at, look_at = look.look_at
    from unnest(
      ${looks.map(({ schedule }) => schedule.account_id)}::text[],
      ${looks.map(({ schedule }) => schedule.schedule_id)}::uuid[],
      ${looks.map(({ nextFireAt }) => nextFireAt?.toISOString() ?? null)}::timestamptz[],
      ${looks.map(({ lookAt }) => lookAt?.toISOString() ?? null)}::timestamptz[]
    ) look (account_id, schedule_id, next_fire_at, look_at)
    where schedule.account_id = look.account_id and schedule.schedule_id = look.schedule_id`.execute(trx);
  return runs.map(({ schedule, run }) => ({
    kind: schedule.kind,
    key: { accountId: schedule.account_id, runId: run.runId, generation: 1 },
  }));
}

/** Nobody sits and waits for it. */
const PRIORITY = "scheduled";

async function insertRuns(trx: Db, runs: readonly { schedule: Schedule; run: RunToMake }[]): Promise<void> {
  if (runs.length === 0) return;
  await trx
    .insertInto("runs")
    .values(
      runs.map(({ schedule, run }) => ({
        account_id: schedule.account_id,
        run_id: run.runId,
        kind: schedule.kind,
        priority: PRIORITY,
        turn: likelyTurnSql(schedule.account_id, schedule.kind, sql.lit(PRIORITY)),
        params: JSON.stringify(run.params),
        requested_by: schedule.requested_by,
        schedule_id: schedule.schedule_id,
        created_at: sql<Date>`date_trunc('milliseconds', now())`,
      })),
    )
    .execute();
}

export interface PastSlot {
  fire_at: Date;
  trigger: "schedule" | "manual";
  outcome: SlotOutcome;
  reason: string | null;
  range_from: Date;
  range_to: Date;
  created_at: Date;
  run_id: string | null;
  kind: RunKind | null;
  status: RunStatus | null;
  error: RunError | null;
}

/** The slots of a schedule, newest first, each with how its run stands. */
export async function listSlots(
  db: Db,
  { accountId, scheduleId }: ScheduleKey,
  page: { before: Date | undefined; limit: number },
): Promise<PastSlot[]> {
  let query = db
    .selectFrom("schedule_slots as slot")
    .leftJoin("runs as run", (join) =>
      join.onRef("run.account_id", "=", "slot.account_id").onRef("run.run_id", "=", "slot.run_id"),
    )
    .select([
      "slot.fire_at",
      "slot.trigger",
      "slot.outcome",
      "slot.reason",
      "slot.range_from",
      "slot.range_to",
    ])
    .select(["slot.created_at", "slot.run_id", "run.kind", "run.status", "run.error"])
    .where("slot.account_id", "=", accountId)
    .where("slot.schedule_id", "=", scheduleId);
  if (page.before) query = query.where("slot.fire_at", "<", page.before);
  return query.orderBy("slot.fire_at", "desc").limit(page.limit).execute();
}

/** Deletes what is older, at most `limit` of it, and says how many that were. */
export async function deleteOldSlots(db: Db, before: Date, limit: number): Promise<number> {
  const result = await sql`
    delete from schedule_slots slot
    using (select account_id, schedule_id, fire_at from schedule_slots
           where created_at < ${before} order by created_at limit ${limit}) old
    where slot.account_id = old.account_id and slot.schedule_id = old.schedule_id and slot.fire_at = old.fire_at`.execute(
    db,
  );
  return Number(result.numAffectedRows ?? 0n);
}
