import { countRows } from "../db/datasets/dataset.js";
import { defineJob } from "./define-job.js";
import { openDataset } from "./open-dataset.js";
import { fileName, publishFile } from "./publish-file.js";
import { runKey } from "./run-key.js";
import { exportRequest } from "./run-requests.js";
import { giveUpRun, withRun } from "./with-run.js";
import { streamRows } from "./write-rows.js";

/**
 * Builds one export file from a dataset. Safe to run twice or killed anywhere, as a report is. Cost: one index range,
 * streamed by COPY in constant memory.
 */
export const buildExport = defineJob({
  kind: "exports.build",
  queue: "exports",
  payload: runKey,
  timeoutMs: 6 * 60 * 60_000,
  onGivenUp: giveUpRun,
  run: (key, context) =>
    withRun(
      key,
      context,
      async (work) => {
        const request = exportRequest.parse(work.run.params);
        const opened = await openDataset(context.db, request);
        work.progress.totalRows = await countRows(context.db, opened.rows);
        const { format, csv } = request;
        const stream = await streamRows(
          context.copy,
          { ...opened, name: request.dataset, format, csv, createdAt: work.run.created_at },
          work.signal,
        );
        const name = fileName(request.dataset, request);
        return { artifact: await publishFile(context, work, stream, { name, ...request }) };
      },
      ({ artifact }) => (artifact ? context.artifacts.remove(artifact.key) : Promise.resolve()),
    ),
});
