import type { SharedSnapshot } from "../db/held-snapshot.js";
import { removeEndedParts } from "../db/queries/export-parts.js";
import { Unavailable } from "../errors.js";
import { defineJob, type JobContext } from "./define-job.js";
import { type BuiltFile, buildInParts } from "./export-in-parts.js";
import { isQuotaExceeded } from "./file-room.js";
import { exportName, type OpenedDataset, openDataset } from "./open-dataset.js";
import { partedFormat } from "./parted-format.js";
import { planExport } from "./plan-export.js";
import { publishFile, servedAs } from "./publish-file.js";
import { removeAll } from "./remove-file.js";
import { runKey } from "./run-key.js";
import { type ExportRequest, exportRequest, isAboutChanges } from "./run-requests.js";
import { giveUpRun, type RunOutcome, type RunWork, withRun } from "./with-run.js";
import { streamRows } from "./write-rows.js";

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
  async run(key, context) {
    let fence: number | undefined;
    const removeParts = () => removeEndedParts(context.db, key, { fence });
    const dropParts = async () => removeAll(context.artifacts, await removeParts());
    try {
      const done = await withRun(key, context, (work) => {
        fence = work.claim.fence;
        return exportFile(context, work);
      });
      // Their files belong to the artifact now, or to nobody. What a crash leaves here is the sweep's.
      if ("run" in done) await removeParts();
      if ("cancelled" in done) await dropParts();
      return done;
    } catch (error) {
      if (isQuotaExceeded(error)) await dropParts();
      throw error;
    }
  },
});

async function exportFile(context: JobContext, work: RunWork): Promise<RunOutcome> {
  const request = exportRequest.parse(work.run.params);
  const snapshot = await context.copy.holdSnapshot();
  try {
    const opened = await openDataset(context.db, snapshot, request, work.signal);
    const { rows } = opened;
    const parted = partedFormat(context, request, opened, work.run);
    const partRows = rows.key && parted.partRows;
    const { format, layout } = parted;
    const asked = { rows, partRows, layout, snapshot, nextCursor: opened.nextCursor };
    const { parts, nextCursor } = await planExport(context, work, asked);
    const inParts = parts > 1;
    const built = inParts
      ? await buildInParts(context, work, { rows, format, layout, snapshot })
      : await buildWhole(context, work, request, opened, snapshot);
    const columns = opened.columns.map(({ name, type }) => ({ name, type }));
    const artifact = {
      ...built,
      ...servedAs({ name: exportName(request), ...request }),
      content: { columns, ...built.content },
    };
    return { artifact, inParts, ...(nextCursor && { result: { next_cursor: nextCursor } }) };
  } finally {
    snapshot.release();
  }
}

/** The file as one stream of rows. */
async function buildWhole(
  context: JobContext,
  work: RunWork,
  request: ExportRequest,
  opened: OpenedDataset,
  snapshot: SharedSnapshot,
): Promise<BuiltFile> {
  const { dataset: name, format, csv, compression } = request;
  let takenAt = snapshot.takenAt;
  const stream = async (sql: string, signal: AbortSignal) => {
    const copied = await context.copy.streamAt(snapshot, sql, signal);
    // A cursor of before and rows of now would not fit.
    if (isAboutChanges(request) && copied.snapshot === undefined) {
      copied.source.destroy();
      throw new Unavailable(
        "snapshot_lost",
        "The database went away while the changes were read; they are read again.",
      );
    }
    takenAt = copied.takenAt;
    return copied.source;
  };
  const asked = { ...opened, name, format, csv, compression, createdAt: work.run.created_at };
  const made = await streamRows({ stream }, asked, work.signal);
  const file = await publishFile(context, work, made, { name, format });
  const { bytes, rows, sha256 } = file;
  const part = { offset: 0, bytes, rows, sha256 };
  return { ...file, content: { as_of: takenAt.toISOString(), consistency: "snapshot", parts: [part] } };
}
