import type { Db } from "../client.js";
import { insertRun, type Run } from "./runs.js";
import type { Schedule } from "./schedules.js";

const MINUTE_MS = 60_000;

/**
 * Asks for a run outside of the schedule, and notes it in its history: at a time that no slot can have. Undefined where as
 * many runs of the account wait as may.
 */
export async function insertManualRun(
  db: Db,
  schedule: Schedule,
  asked: {
    params: Record<string, unknown>;
    range: { from: Date; to: Date };
    requestedBy: string;
    now: Date;
    maxWaiting: number;
  },
): Promise<(Run & { position: number }) | undefined> {
  return db.transaction().execute(async (trx) => {
    const run = await insertRun(trx, {
      accountId: schedule.account_id,
      kind: schedule.kind,
      priority: "interactive",
      maxWaiting: asked.maxWaiting,
      params: asked.params,
      requestedBy: asked.requestedBy,
      scheduleId: schedule.schedule_id,
    });
    if (!run) return undefined;
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
