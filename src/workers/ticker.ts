import { CronExpressionParser } from "cron-parser";
import type { AnyJob, Enqueue } from "../jobs/define-job.js";
import { type Log, seldomWarnings } from "../log.js";

export interface Ticker {
  /** Adds a job for each schedule whose latest fire has not been added yet. */
  tick(now: Date): Promise<void>;
}

/**
 * Turns cron expressions into jobs. A fire's job id is its kind and its time, so any number of schedulers add it once,
 * and one that was away adds only the latest fire: maintenance needs no catching up. Throws for a bad expression.
 */
export function createTicker(definitions: readonly AnyJob[], enqueue: Enqueue, log: Log): Ticker {
  const scheduled = definitions.flatMap((job) =>
    job.schedule ? [{ job, schedule: job.schedule, lastFire: 0 }] : [],
  );
  const warn = seldomWarnings();
  for (const { schedule } of scheduled) latestFire(schedule.cron, new Date());
  return {
    async tick(now) {
      for (const entry of scheduled) {
        const fire = latestFire(entry.schedule.cron, now).getTime();
        if (fire <= entry.lastFire) continue;
        try {
          await enqueue(entry.job, entry.schedule.payload, { id: `${entry.job.kind}-at-${fire}` });
          entry.lastFire = fire;
        } catch (error) {
          warn(log, "schedule not added; the next tick tries again", { kind: entry.job.kind, error });
        }
      }
    },
  };
}

/** The newest instant at or before `now` that matches the expression, in UTC. */
export function latestFire(expression: string, now: Date): Date {
  const justAfter = new Date(now.getTime() + 1);
  return CronExpressionParser.parse(expression, { currentDate: justAfter, tz: "UTC" }).prev().toDate();
}
