import type { Db } from "../db/client.js";
import { disableFailing } from "../db/queries/failing-schedules.js";
import type { ScheduleKey } from "../db/queries/schedules.js";
import type { Log } from "../log.js";
import { scheduleDisabledNotice } from "./schedule-disabled-notice.js";
import { serviceFaults } from "./service-faults.js";

/**
 * Switches a schedule off whose runs keep failing by its own request, right after one of them has. Only to be early: the
 * next fire asks the same, should this process die before.
 */
export async function reviewSchedule(db: Db, key: ScheduleKey, now: Date, log: Log): Promise<void> {
  try {
    await db.transaction().execute(async (trx) => {
      for (const schedule of await disableFailing(trx, [key], serviceFaults, now))
        await scheduleDisabledNotice(trx, schedule, log);
    });
  } catch (error) {
    log.warn("schedule not reviewed; its next fire will", { ...key, error });
  }
}
