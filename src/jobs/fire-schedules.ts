import { randomUUID } from "node:crypto";
import { z } from "zod";
import { decideSlots, MAX_AWAY_MS } from "../analytics/due-slots.js";
import { firesBetween, nextFires } from "../analytics/fires.js";
import type { Db } from "../db/client.js";
import { databaseNow } from "../db/queries/clock.js";
import { disableFailing } from "../db/queries/failing-schedules.js";
import {
  type Look,
  lockDueSchedules,
  type MadeRun,
  type RunToMake,
  readLines,
  recordLooks,
  type ScheduleLine,
} from "../db/queries/schedule-slots.js";
import { type Schedule, type ScheduleKey, scheduleKey } from "../db/queries/schedules.js";
import type { Log } from "../log.js";
import type { Admission } from "./admission.js";
import { defineJob } from "./define-job.js";
import { pinTemplates } from "./pin-templates.js";
import { scheduleDisabledNotice } from "./schedule-disabled-notice.js";
import { type DatedRange, patternOf, requestOf, slotRange } from "./scheduled-request.js";
import { serviceFaults } from "./service-faults.js";

const SCHEDULES_PER_STEP = 100;
/** While slots stand in line. */
const LINE_LOOK_MS = 5_000;
/** For a schedule that this process cannot read, as when another knows a newer zone. */
const UNREADABLE_LOOK_MS = 5 * 60_000;

/**
 * Fires the schedules that are due. A step locks some, decides, and writes slots, runs and the next fire in one
 * transaction; what another step holds is left to it, so any number may go on at once and be killed anywhere. The runs are
 * admitted after it; the sweep does that where this process cannot. Cost: an index range of what is due.
 */
export const fireSchedules = defineJob({
  kind: "schedules.fire",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 60_000,
  schedule: { cron: "*/5 * * * * *", payload: {} },
  async run(_payload, { db, admit, log, signal }) {
    const counts = { schedules: 0, runs: 0 };
    for (let looked = SCHEDULES_PER_STEP; looked === SCHEDULES_PER_STEP; ) {
      signal.throwIfAborted();
      // Of all clocks that one: a worker whose own is ahead would report on what has not happened yet.
      const step = await fireDue(db, await databaseNow(db), log);
      await admitMade(admit, step.runs);
      looked = step.looked;
      counts.schedules += looked;
      counts.runs += step.runs.length;
    }
    return counts;
  },
});

/** One step: what is due at `now`, or `only` the one schedule if it is. */
export async function fireDue(
  db: Db,
  now: Date,
  log: Log,
  only?: ScheduleKey,
): Promise<{ looked: number; runs: MadeRun[] }> {
  return db.transaction().execute(async (trx) => {
    const due = await lockDueSchedules(trx, now, SCHEDULES_PER_STEP, only);
    if (due.length === 0) return { looked: 0, runs: [] };
    const disabled = await disableFailing(trx, due.map(scheduleKey), serviceFaults, now);
    for (const schedule of disabled) await scheduleDisabledNotice(trx, schedule, log);
    const gone = new Set(disabled.map((schedule) => schedule.schedule_id));
    const active = await pinTemplates(
      trx,
      due.filter((schedule) => !gone.has(schedule.schedule_id)),
    );
    const lines = await readLines(trx, active.map(scheduleKey));
    const looks = active.map((schedule, index) => tryLook(schedule, lines[index]!, now, log));
    return { looked: due.length, runs: await recordLooks(trx, looks, now) };
  });
}

/** Lets runs that wait now into the queues, as there is room. */
export async function admitMade(admit: Admission["admit"], runs: readonly MadeRun[]): Promise<void> {
  await Promise.all(runs.map(({ kind, key }) => admit(kind, key.accountId)));
}

/** One schedule must not hold up the others. */
function tryLook(schedule: Schedule, line: ScheduleLine, now: Date, log: Log): Look {
  try {
    return lookAt(schedule, line, now);
  } catch (error) {
    log.error("a schedule cannot be read", { ...scheduleKey(schedule), error });
    const later = new Date(now.getTime() + UNREADABLE_LOOK_MS);
    return { schedule, start: undefined, slots: [], nextFireAt: schedule.next_fire_at, lookAt: later };
  }
}

/** Lets the head of the line go if it is its turn, decides about the slots that are due, and says when to look again. */
function lookAt(schedule: Schedule, line: ScheduleLine, now: Date): Look {
  const pattern = patternOf(schedule);
  const nowMs = now.getTime();
  const run = (range: DatedRange): RunToMake => ({
    runId: randomUUID(),
    params: requestOf(schedule.account_id, schedule, range),
  });
  const head = line.isBusy ? undefined : line.first;
  const firstDue = Math.max(schedule.next_fire_at?.getTime() ?? nowMs + 1, nowMs - MAX_AWAY_MS);
  const due = firstDue > nowMs ? [] : firesBetween(pattern, firstDue, nowMs + 1).map((fire) => fire.at);
  const decided = decideSlots(
    due,
    { catchUp: schedule.catch_up, overlap: schedule.overlap },
    { isBusy: line.isBusy || head !== undefined, waiting: line.waiting - (head ? 1 : 0) },
    nowMs,
  );
  const waiting = line.waiting - (head ? 1 : 0) + decided.filter((slot) => slot.outcome === "waiting").length;
  const nextFireAt = new Date(firstDue > nowMs ? firstDue : nextFires(pattern, nowMs, 1)[0]!.at);
  const lineLookMs = waiting > 0 ? nowMs + LINE_LOOK_MS : Number.POSITIVE_INFINITY;
  return {
    schedule,
    start: head && { fireAt: head.fireAt, run: run(head) },
    slots: decided.map((slot) => {
      const range = slotRange(schedule, pattern, slot.fireAt);
      const made = slot.outcome === "queued" ? run(range) : undefined;
      return { ...slot, ...range, fireAt: new Date(slot.fireAt), run: made };
    }),
    nextFireAt,
    lookAt: new Date(Math.min(nextFireAt.getTime(), lineLookMs)),
  };
}
