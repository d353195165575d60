import type { Db } from "../db/client.js";
import { announce } from "../db/queries/notify.js";
import type { Schedule } from "../db/queries/schedules.js";
import { scheduleKey } from "../db/queries/schedules.js";
import type { Log } from "../log.js";

/**
 * Says that a schedule was switched off, to the endpoints that listen to this. Called once for each time, within the transaction that does it: what is written
 * through `trx` is there exactly if the schedule is off.
 */
export async function scheduleDisabledNotice(trx: Db, schedule: Schedule, log: Log): Promise<void> {
  const { account_id: accountId, schedule_id, name, disabled } = schedule;
  await announce(trx, {
    accountId,
    event: "schedule.disabled",
    data: { schedule: { id: schedule_id, name, disabled } },
  });
  log.warn("schedule disabled: its runs keep failing by its own request", {
    ...scheduleKey(schedule),
    name,
    disabled,
  });
}
