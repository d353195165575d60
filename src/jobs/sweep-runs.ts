import { z } from "zod";
import {
  failAbandonedRun,
  idleRuns,
  markEnqueued,
  type Run,
  type RunKey,
  requestCancel,
  runJobId,
} from "../db/queries/runs.js";
import { defineJob, type JobContext, type JobDefinition } from "./define-job.js";
import { runJobs } from "./run-jobs.js";
import type { ServiceFault } from "./service-faults.js";

/** Older than any heartbeat or enqueue in flight; the queue itself recovers a dead worker's job sooner. */
const IDLE_MS = 20_000;
const RUNS_PER_SWEEP = 1_000;

/**
 * Asks the queue about every admitted run that shows no sign of life, and adds the job again where the queue does not know
 * it: after a lost queue, or a crash between the admission and the enqueue. A run whose job the queue has given up is
 * failed, one that was to be cancelled when its worker died is cancelled. Then it admits what waits, where a process died
 * or the queue was away before it could. Idempotent: the job's id comes from the run and its generation, so nothing is
 * added twice.
 */
export const sweepRuns = defineJob({
  kind: "runs.sweep",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 60_000,
  schedule: { cron: "*/10 * * * * *", payload: {} },
  async run(_payload, context) {
    const counts = { left: 0, enqueued: 0, failed: 0, cancelled: 0 };
    for (const run of await idleRuns(context.db, IDLE_MS, RUNS_PER_SWEEP)) {
      context.signal.throwIfAborted();
      counts[await settle(run, context)]++;
    }
    await context.admitAll();
    return counts;
  },
});

async function settle(run: Run, context: JobContext): Promise<"left" | "enqueued" | "failed" | "cancelled"> {
  const key: RunKey = { accountId: run.account_id, runId: run.run_id, generation: run.generation };
  // No worker may claim such a run any more, so another job would only be skipped, again and again.
  if (run.cancel_requested_at) {
    await requestCancel(context.db, key.accountId, key.runId, key.generation);
    return "cancelled";
  }
  const job: JobDefinition<RunKey> = runJobs[run.kind];
  const state = await context.stateOf(job.queue, runJobId(key));
  if (state === "waiting" || state === "active" || state === "delayed") return "left";
  if (state === "failed") {
    const error = {
      code: "abandoned" satisfies ServiceFault,
      message: "The work was given up after its attempts were used up.",
    };
    await failAbandonedRun(context.db, key, error, { park: false });
    return "failed";
  }
  // Unknown, or finished for the queue while the row is still open: a zombie's leftovers. Either way it needs a job,
  // and a finished one would block the same id.
  if (state === "completed") await context.removeJob(job.queue, runJobId(key));
  await context.enqueue(job, key, { id: runJobId(key) });
  await markEnqueued(context.db, key);
  return "enqueued";
}
