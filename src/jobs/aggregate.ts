import { foldAgain } from "../db/fold/backfill.js";
import type { Progress } from "../db/queries/runs.js";
import { measureEverything, repairEverything } from "../db/rollups/everything.js";
import { defineJob, type JobContext } from "./define-job.js";
import { rulesOf } from "./rebuild-conversations.js";
import { runKey } from "./run-key.js";
import { type AggregationRequest, aggregationRequest } from "./run-requests.js";
import { giveUpRun, withRun } from "./with-run.js";

/**
 * Checks an account's rollups, conversations, flows and contacts against its messages (`verify`), brings them in step
 * (`recompute`), or folds all of its events again (`backfill`). Idempotent: a second recompute finds nothing to change, a
 * second backfill neither. Cost: reads every message of the account three times, or every event once; the fold lock is held
 * for a batch or a piece of what differs at a time.
 */
export const aggregate = defineJob({
  kind: "rollups.aggregate",
  queue: "aggregation",
  payload: runKey,
  timeoutMs: 60 * 60_000,
  onGivenUp: giveUpRun,
  run: (key, context) =>
    withRun(key, context, async ({ run, progress, signal }) => {
      const request = aggregationRequest.parse(run.params);
      return { result: await work(request, { ...context, signal }, progress) };
    }),
});

async function work(
  { account_id, action, from, to }: AggregationRequest,
  { db, signal, settings }: JobContext,
  progress: Progress,
): Promise<Record<string, unknown>> {
  const onProgress = (done: number, total: number) => {
    progress.rows = done;
    progress.totalRows = total;
  };
  if (action === "backfill") {
    const { events, eventsFrom } = await foldAgain(
      db,
      account_id,
      { limit: settings.foldBatchSize, signal },
      onProgress,
    );
    return { events, events_gone_before: eventsFrom?.toISOString() ?? null };
  }
  const drift = await (action === "verify" ? measureEverything : repairEverything)(
    db,
    account_id,
    { from, to, rulesOf },
    signal,
    onProgress,
  );
  return {
    messages: drift.messages,
    drifted_rows: drift.rows,
    drifted_conversations: drift.conversations,
    repaired_rows: action === "recompute" ? drift.rows : 0,
  };
}
