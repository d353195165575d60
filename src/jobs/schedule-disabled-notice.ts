import type { Db } from "../db/client.js";
import type { Schedule } from "../db/queries/schedules.js";
import { scheduleKey } from "../db/queries/schedules.js";
import type { Log } from "../log.js";

/**
 * Says that a schedule was switched off. Called once for each time, within the transaction that does it: what is written
 * through `trx` is there exactly if the schedule is off.
 */
export async function scheduleDisabledNotice(_trx: Db, schedule: Schedule, log: Log): Promise<void> {
  log.warn("schedule disabled: its runs keep failing by its own request", {
    ...scheduleKey(schedule),
    name: schedule.name,
    disabled: schedule.disabled,
  });
}
