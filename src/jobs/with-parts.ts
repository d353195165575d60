import { removeEndedParts } from "../db/queries/export-parts.js";
import type { RunKey } from "../db/queries/runs.js";
import type { JobContext } from "./define-job.js";
import { isQuotaExceeded } from "./file-room.js";
import { removeAll } from "./remove-file.js";
import { type RunOutcome, type RunWork, withRun } from "./with-run.js";

/**
 * Works on one run (`withRun`) whose file may be laid out in parts, and forgets them when it has ended. What a crash leaves is
 * the sweep's, as is what an earlier attempt laid out for a file that now needs no parts.
 */
export async function withParts(
  key: RunKey,
  context: JobContext,
  work: (work: RunWork) => Promise<RunOutcome>,
): Promise<Record<string, unknown>> {
  let fence: number | undefined;
  let inParts: boolean | undefined;
  const removeParts = () => removeEndedParts(context.db, key, { fence });
  const dropParts = async () => removeAll(context.artifacts, await removeParts());
  try {
    const done = await withRun(key, context, async (claimed) => {
      fence = claimed.claim.fence;
      const outcome = await work(claimed);
      inParts = outcome.inParts;
      return outcome;
    });
    // Their files belong to the artifact now, or to nobody.
    if ("run" in done && inParts) await removeParts();
    if ("cancelled" in done) await dropParts();
    return done;
  } catch (error) {
    if (isQuotaExceeded(error)) await dropParts();
    throw error;
  }
}
