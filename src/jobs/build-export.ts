import { readerOf } from "../db/held-snapshot.js";
import { buildRows } from "./build-rows.js";
import { defineJob, type JobContext } from "./define-job.js";
import { exportFile, exportName, openDataset } from "./open-dataset.js";
import { runKey } from "./run-key.js";
import { exportRequest, isAboutChanges } from "./run-requests.js";
import { withParts } from "./with-parts.js";
import { giveUpRun, type RunOutcome, type RunWork } from "./with-run.js";

/**
 * Builds one export file from a dataset: a small one as a stream of rows, a large one in parts that other workers help with.
 * Safe to run twice or killed anywhere; a part that is done is not built again. Cost: each row is passed over in the index
 * once to lay the parts out, then read once and streamed by COPY in constant memory.
 */
export const buildExport = defineJob({
  kind: "exports.build",
  queue: "exports",
  payload: runKey,
  timeoutMs: 24 * 60 * 60_000,
  onGivenUp: giveUpRun,
  run: (key, context) => withParts(key, context, (work) => buildDataset(context, work)),
});

async function buildDataset(context: JobContext, work: RunWork): Promise<RunOutcome> {
  const request = exportRequest.parse(work.run.params);
  const { db, copy } = context;
  // The cursor and the rows of changes have to be of one moment.
  const snapshot = isAboutChanges(request) ? await copy.holdSnapshot() : undefined;
  try {
    const opened = await openDataset(db, snapshot ?? readerOf(db), request, work.signal);
    const { nextCursor } = opened;
    const asked = { fileName: exportName(request), snapshot, nextCursor };
    return await buildRows(context, work, exportFile(request, opened, work.run.created_at), asked);
  } finally {
    snapshot?.release();
  }
}
