import { type Selectable, sql, type Updateable } from "kysely";
import type { Db } from "../client.js";
import { isBehind, type NewestFirst } from "../newest-first.js";
import type { Database, ScheduleStatus } from "../schema.js";

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
  } & NewestFirst,
): Promise<Schedule[]> {
  let query = db.selectFrom("schedules").selectAll().where("account_id", "=", filter.accountId);
  if (filter.status) query = query.where("status", "=", filter.status);
  if (filter.before) query = query.where(isBehind(filter.before, "schedule_id"));
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

export const scheduleKey = (row: Pick<Schedule, "account_id" | "schedule_id">): ScheduleKey => ({
  accountId: row.account_id,
  scheduleId: row.schedule_id,
});
