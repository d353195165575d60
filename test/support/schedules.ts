import { nextFires } from "../../src/analytics/fires.js";
import { type Range, rangeOf } from "../../src/analytics/relative-range.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertSchedule, type Schedule, type ScheduleFields } from "../../src/db/queries/schedules.js";
import type { RunStatus } from "../../src/db/schema.js";
import { patternOf } from "../../src/jobs/scheduled-request.js";
import type { TestDb } from "./postgres.js";

const fields: ScheduleFields = {
  name: "every morning",
  cron: "0 8 * * *",
  time_zone: "UTC",
  kind: "report",
  request: { template: "delivery-summary", format: "csv" },
  range: "since_previous_fire",
  catch_up: "last",
  overlap: "skip",
};

/** An active schedule of the account `shop`, made at `now`. */
export async function makeSchedule(
  { db }: Pick<TestDb, "db">,
  now: Date,
  given: Partial<ScheduleFields> = {},
): Promise<Schedule> {
  await ensureAccounts(db, ["shop"]);
  const schedule = { ...fields, ...given };
  const nextFireAt = new Date(nextFires(patternOf(schedule), now.getTime(), 1)[0]!.at);
  const made = await insertSchedule(
    db,
    {
      accountId: "shop",
      requestedBy: "test",
      fields: schedule,
      standing: { status: "active", nextFireAt },
      now,
    },
    1_000,
  );
  return made!;
}

/** The fires after one instant and up to another as previews of twenty say them, each with its range. */
export function previewOf(schedule: Schedule, after: Date, until: Date): (Range & { at: number })[] {
  const pattern = patternOf(schedule);
  const instants: number[] = [];
  for (let last = after.getTime(); last <= until.getTime(); last = instants.at(-1)!)
    instants.push(...nextFires(pattern, last, 20).map((fire) => fire.at));
  return instants
    .filter((at) => at <= until.getTime())
    .map((at) => ({ at, ...rangeOf(schedule.range, at, pattern) }));
}

export interface StoredSlot {
  fire_at: Date;
  outcome: string;
  reason: string | null;
  range_from: Date;
  range_to: Date;
  run_id: string | null;
  /** Of its run. */
  from: string | null;
  to: string | null;
  runs: number;
}

/** What is stored of a schedule's slots, oldest first, with the range that its run was asked for and how many runs there are. */
export async function slotsOf({ pool }: Pick<TestDb, "pool">, schedule: Schedule): Promise<StoredSlot[]> {
  const { rows } = await pool.query<StoredSlot>(
    `select slot.fire_at, outcome, reason, range_from, range_to, slot.run_id,
       min(run.params ->> 'from') as from, min(run.params ->> 'to') as to, count(run.run_id)::integer as runs
     from schedule_slots slot left join runs run using (account_id, run_id)
     where slot.account_id = $1 and slot.schedule_id = $2
     group by slot.account_id, slot.schedule_id, slot.fire_at
     order by slot.fire_at`,
    [schedule.account_id, schedule.schedule_id],
  );
  return rows;
}

/** Ends the open runs, as a worker would. */
export const endRuns = ({ pool }: Pick<TestDb, "pool">, status: RunStatus = "succeeded", code?: string) =>
  pool.query(
    `update runs set status = $1::run_status, error = $2::jsonb where status in ('queued', 'running')`,
    [status, code === undefined ? null : JSON.stringify({ code, message: "it failed" })],
  );
