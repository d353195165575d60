import { Readable } from "node:stream";
import type { CopySource } from "../db/copy.js";
import { countRows, selectRows } from "../db/datasets/dataset.js";
import { messages } from "../db/datasets/messages.js";
import { longSession } from "../db/long-session.js";
import type { JobContext } from "./define-job.js";
import { defineJob } from "./define-job.js";
import { describeReport } from "./describe-report.js";
import { fileName, publishFile } from "./publish-file.js";
import { runKey } from "./run-key.js";
import { type ReportRequest, reportRequest } from "./run-requests.js";
import { giveUpRun, type RunWork, withRun } from "./with-run.js";
import { type RowStream, streamRows } from "./write-rows.js";
import { readSummary, writeSummary } from "./write-summary.js";

/**
 * Builds one report file. Safe to run twice or killed anywhere: the file is written under a key of this attempt and
 * made visible by one conditional update. Cost: a summary reads rollups, a message log streams one index range.
 */
export const buildReport = defineJob({
  kind: "reports.build",
  queue: "reports",
  payload: runKey,
  timeoutMs: 60 * 60_000,
  onGivenUp: giveUpRun,
  run: (key, context) =>
    withRun(key, context, async (work) => {
      const request = reportRequest.parse(work.run.params);
      const stream = await openReport(request, context, work);
      const name = fileName(request.template, request);
      return { artifact: await publishFile(context, work, stream, { name, ...request }) };
    }),
});

async function openReport(
  request: ReportRequest,
  { db, copy }: JobContext,
  { run, signal, progress }: RunWork,
): Promise<RowStream> {
  const head = describeReport(request, run);
  if (request.template === "delivery-summary") {
    const sections = await longSession(db, signal, (session) => readSummary(session, request));
    return writeSummary(sections, request, head, run.created_at);
  }
  const rows = selectRows(messages, { ...request, accountId: request.account_id });
  progress.totalRows = await countRows(db, rows, signal);
  return streamRows(
    progress.totalRows > 0 ? copy : noRows,
    {
      rows,
      columns: rows.columns,
      name: "messages",
      format: request.format,
      createdAt: run.created_at,
      csv: request.csv,
      pretty: request.json?.pretty,
      head,
    },
    signal,
  );
}

/** Where none were counted: to plan a COPY would cost more than the rest of such a report. */
const noRows: Pick<CopySource, "stream"> = { stream: async () => Readable.from([]) };
