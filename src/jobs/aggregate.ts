import { measureDrift, repairDrift } from "../db/fold/drift.js";
import { defineJob } from "./define-job.js";
import { runKey } from "./run-key.js";
import { aggregationRequest } from "./run-requests.js";
import { giveUpRun, withRun } from "./with-run.js";

/**
 * Checks an account's rollups against its messages (`verify`), or brings them in step (`recompute`). Idempotent: a
 * second recompute finds nothing to change. Cost: reads every message of the account once; the fold lock is held only
 * while the differing rows are written.
 */
export const aggregate = defineJob({
  kind: "rollups.aggregate",
  queue: "aggregation",
  payload: runKey,
  timeoutMs: 60 * 60_000,
  onGivenUp: giveUpRun,
  run: (key, context) =>
    withRun(key, context, async ({ run, progress, signal }) => {
      const { account_id, action, from, to } = aggregationRequest.parse(run.params);
      const work = action === "verify" ? measureDrift : repairDrift;
      const drift = await work(context.db, account_id, { from, to }, signal);
      progress.rows = drift.messages;
      return {
        result: {
          messages: drift.messages,
          drifted_rows: drift.rows,
          repaired_rows: action === "recompute" ? drift.rows : 0,
        },
      };
    }),
});
