import { type Selectable, sql, type Updateable } from "kysely";
import type { Db } from "../client.js";
import type { Database, ScheduleStatus } from "../schema.js";
import { insertRun, type Run } from "./runs.js";

export type Schedule = Selectable<Database["schedules"]>;

/** What names a schedule in every statement. */
export interface ScheduleKey {
  accountId: string;
  scheduleId: string;
}

type Scope = "all" | readonly string[];

/** What a schedule is, apart from where it stands. */
export type ScheduleFields = Pick<
  Schedule,
  "name" | "cron" | "time_zone" | "kind" | "request" | "range" | "catch_up" | "overlap"
>;

export interface Standing {
  status: ScheduleStatus;
  nextFireAt: Date | null;
}

/**
 * Adds a schedule; undefined when the account has `limit` of them. Holds the account's row meanwhile, so that of two at
 * once only one can be the last.
 */
export async function insertSchedule(
  db: Db,
  schedule: { accountId: string; requestedBy: string; fields: ScheduleFields; standing: Standing; now: Date },
  limit: number,
): Promise<Schedule | undefined> {
  const { accountId, requestedBy, fields, standing, now } = schedule;
  return db.transaction().execute(async (trx) => {
    await sql`select from accounts where account_id = ${accountId} for no key update`.execute(trx);
    const { count } = await trx
      .selectFrom("schedules")
      .select((eb) => eb.fn.countAll<number>().as("count"))
      .where("account_id", "=", accountId)
      .executeTakeFirstOrThrow();
    if (count >= limit) return undefined;
    return trx
      .insertInto("schedules")
      .values({
        account_id: accountId,
        ...fields,
        request: JSON.stringify(fields.request),
        status: standing.status,
        next_fire_at: standing.nextFireAt,
        look_at: standing.nextFireAt,
        enabled_at: now,
        requested_by: requestedBy,
        created_at: now,
        updated_at: now,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  });
}

/** Schedules of accounts outside the scope are as good as absent. */
export async function findSchedule(db: Db, scheduleId: string, scope: Scope): Promise<Schedule | undefined> {
  let query = db.selectFrom("schedules").selectAll().where("schedule_id", "=", scheduleId);
  if (scope !== "all") query = query.where("account_id", "=", sql<string>`any(${[...scope]}::text[])`);
  return query.executeTakeFirst();
}

/** Newest first. */
export async function listSchedules(
  db: Db,
  filter: {
    accountId: string;
    status?: ScheduleStatus | undefined;
    before?: { createdAt: Date; scheduleId: string } | undefined;
    limit: number;
  },
): Promise<Schedule[]> {
  let query = db.selectFrom("schedules").selectAll().where("account_id", "=", filter.accountId);
  if (filter.status) query = query.where("status", "=", filter.status);
  if (filter.before)
    query = query.where(
      sql<boolean>`(created_at, schedule_id) < (${filter.before.createdAt}, ${filter.before.scheduleId}::uuid)`,
    );
  return query.orderBy("created_at", "desc").orderBy("schedule_id", "desc").limit(filter.limit).execute();
}

export interface ScheduleChange {
  fields: ScheduleFields;
  /** Only when it becomes another: then past failures are forgotten, and whoever waits in line may be sent away. */
  standing?: Standing;
}

/**
 * Changes a schedule under its lock, which the firing step takes too. `decide` sees what is there and may throw; undefined
 * leaves it as it is. Slots in line go when it stops. Undefined when there is no such schedule.
 */
export async function changeSchedule(
  db: Db,
  { accountId, scheduleId }: ScheduleKey,
  now: Date,
  decide: (schedule: Schedule) => ScheduleChange | undefined,
): Promise<Schedule | undefined> {
  return db.transaction().execute(async (trx) => {
    const before = await trx
      .selectFrom("schedules")
      .selectAll()
      .where("account_id", "=", accountId)
      .where("schedule_id", "=", scheduleId)
      .forUpdate()
      .executeTakeFirst();
    const change = before && decide(before);
    if (!change) return before;
    const { fields, standing } = change;
    if (standing && standing.status !== "active")
      await cancelWaiting(trx, [{ accountId, scheduleId }], standing.status);
    return trx
      .updateTable("schedules")
      .set((eb) => ({
        ...fields,
        request: JSON.stringify(fields.request),
        ...(standing && standingColumns(standing, now)),
        version: eb("version", "+", 1),
        updated_at: now,
      }))
      .where("account_id", "=", accountId)
      .where("schedule_id", "=", scheduleId)
      .returningAll()
      .executeTakeFirst();
  });
}

function standingColumns({ status, nextFireAt }: Standing, now: Date): Updateable<Database["schedules"]> {
  const looks = { status, next_fire_at: nextFireAt };
  if (status !== "active") return { ...looks, look_at: null };
  // Whoever stands in line is looked after at once.
  return { ...looks, look_at: now, enabled_at: now, disabled: null };
}

/** With its history; its runs stay. False when there is no such schedule. */
export async function deleteSchedule(db: Db, { accountId, scheduleId }: ScheduleKey): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const deleted = await trx
      .deleteFrom("schedules")
      .where("account_id", "=", accountId)
      .where("schedule_id", "=", scheduleId)
      .executeTakeFirst();
    await trx
      .deleteFrom("schedule_slots")
      .where("account_id", "=", accountId)
      .where("schedule_id", "=", scheduleId)
      .execute();
    return deleted.numDeletedRows > 0n;
  });
}

export async function cancelWaiting(trx: Db, keys: readonly ScheduleKey[], reason: string): Promise<void> {
  await sql`
    update schedule_slots slot set outcome = 'cancelled', reason = ${reason}
    from unnest(${keys.map((key) => key.accountId)}::text[], ${keys.map((key) => key.scheduleId)}::uuid[])
      stopped (account_id, schedule_id)
    where slot.account_id = stopped.account_id and slot.schedule_id = stopped.schedule_id
      and slot.outcome = 'waiting'`.execute(trx);
}

/** So many runs in a row must have failed. */
export const FAILURES_TO_DISABLE = 5;

/**
 * Switches off those of these schedules whose last five runs all failed by what is the customer's own, and returns them. One
 * conditional statement: of any number of callers one gets the schedule. Cost: five slots and runs a schedule, by key.
 */
export async function disableFailing(
  trx: Db,
  keys: readonly ScheduleKey[],
  serviceFaults: readonly string[],
  now: Date,
): Promise<Schedule[]> {
  const { rows } = await sql<Schedule>`
    update schedules schedule
    set status = 'disabled', next_fire_at = null, look_at = null, version = version + 1, updated_at = ${now},
      disabled = jsonb_build_object('at', ${now.toISOString()}::text) || failures.newest
    from unnest(${keys.map((key) => key.accountId)}::text[], ${keys.map((key) => key.scheduleId)}::uuid[])
        asked (account_id, schedule_id)
      cross join lateral (
        select count(*) filter (where run.status = 'failed' and run.error ->> 'code' <> all(${serviceFaults}::text[]))
            as count,
          (array_agg(run.error order by slot.fire_at desc))[1] as newest
        from (
          select slot.run_id, slot.fire_at
          from schedule_slots slot join schedules one using (account_id, schedule_id)
          where slot.account_id = asked.account_id and slot.schedule_id = asked.schedule_id
            and slot.outcome = 'queued' and slot.trigger = 'schedule' and slot.fire_at >= one.enabled_at
          order by slot.fire_at desc
          limit ${FAILURES_TO_DISABLE}
        ) slot
        join runs run on run.account_id = asked.account_id and run.run_id = slot.run_id
      ) failures
    where schedule.account_id = asked.account_id and schedule.schedule_id = asked.schedule_id
      and schedule.status = 'active' and failures.count = ${FAILURES_TO_DISABLE}
    returning schedule.*`.execute(trx);
  if (rows.length > 0) await cancelWaiting(trx, rows.map(scheduleKey), "disabled");
  return rows;
}

export const scheduleKey = (row: Pick<Schedule, "account_id" | "schedule_id">): ScheduleKey => ({
  accountId: row.account_id,
  scheduleId: row.schedule_id,
});

/** Asks for a run outside of the schedule, and notes it in its history: at a time that no slot can have. */
export async function insertManualRun(
  db: Db,
  schedule: Schedule,
  asked: { params: Record<string, unknown>; range: { from: Date; to: Date }; requestedBy: string; now: Date },
): Promise<Run & { position: number }> {
  return db.transaction().execute(async (trx) => {
    const run = await insertRun(trx, {
      accountId: schedule.account_id,
      kind: schedule.kind,
      params: asked.params,
      requestedBy: asked.requestedBy,
      scheduleId: schedule.schedule_id,
    });
    for (let at = asked.now.getTime(); ; at++) {
      if (at % MINUTE_MS === 0) continue;
      const noted = await trx
        .insertInto("schedule_slots")
        .values({
          account_id: schedule.account_id,
          schedule_id: schedule.schedule_id,
          fire_at: new Date(at),
          trigger: "manual",
          outcome: "queued",
          range_from: asked.range.from,
          range_to: asked.range.to,
          run_id: run.run_id,
          created_at: asked.now,
        })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      if (noted.numInsertedOrUpdatedRows !== 0n) return run;
    }
  });
}

const MINUTE_MS = 60_000;
