import { sql } from "kysely";
import type { Db } from "../client.js";
import { cancelWaiting, type Schedule, type ScheduleKey, scheduleKey } from "./schedules.js";

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
