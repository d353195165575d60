import { Readable } from "node:stream";
import { type ReportTemplate, rowsSection } from "../analytics/report-templates/definition.js";
import { bothFilters, planSections } from "../analytics/report-templates/plan-sections.js";
import type { SectionOf } from "../analytics/report-templates/sections.js";
import type { CopySource } from "../db/copy.js";
import { countRows, pickColumns, selectRows } from "../db/datasets/dataset.js";
import { messages } from "../db/datasets/messages.js";
import { longSession } from "../db/long-session.js";
import { findAccount, queriedAccount } from "../db/queries/accounts.js";
import { NotFound, PermanentJobError } from "../errors.js";
import { NO_ROWS } from "../exports/binary-copy.js";
import type { JobContext } from "./define-job.js";
import { defineJob } from "./define-job.js";
import { fileName, publishFile } from "./publish-file.js";
import { describeReport } from "./report/describe-report.js";
import { findTemplate } from "./report/find-template.js";
import { readSections } from "./report/read-sections.js";
import { writeReport } from "./report/write-report.js";
import { runKey } from "./run-key.js";
import { type ReportRequest, reportRequest } from "./run-requests.js";
import { giveUpRun, type RunWork, withRun } from "./with-run.js";
import { type RowStream, streamRows } from "./write-rows.js";

/**
 * Builds one report file. Safe to run twice or killed anywhere: the file is written under a key of this attempt and
 * made visible by one conditional update. Cost: sections of numbers read rollups, in one snapshot; a list of messages
 * streams one index range.
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
      const { stream, result } = await openReport(request, context, work);
      const name = fileName(request.template, request);
      const artifact = await publishFile(context, work, stream, { name, ...request });
      return { artifact, ...(result && { result }) };
    }),
});

interface OpenedReport {
  stream: RowStream;
  /** What the run says of it besides its file. */
  result?: Record<string, unknown>;
}

async function openReport(request: ReportRequest, context: JobContext, work: RunWork): Promise<OpenedReport> {
  const template = await findTemplate(context.db, request);
  const rows = rowsSection(template);
  return rows
    ? { stream: await openRows(rows, template, request, context, work) }
    : openNumbers(template, request, context, work);
}

async function openNumbers(
  template: ReportTemplate,
  request: ReportRequest,
  { db }: JobContext,
  { run, signal }: RunWork,
): Promise<OpenedReport> {
  const account = await findAccount(db, request.account_id);
  if (!account) throw new NotFound("account_not_found", "There is no such account.");
  const { sections, leftOut } = planSections(template, request, queriedAccount(account));
  // What has passed is told as of the request: another attempt says the same.
  const options = { now: run.created_at, signal };
  const { tables, asOf } = await longSession(db, signal, (session) =>
    readSections(session, sections, request.account_id, options),
  );
  const head = describeReport(request, run, template);
  return {
    stream: await writeReport({ template, request, head, tables, leftOut, createdAt: run.created_at }),
    result: {
      as_of: asOf,
      sections: tables.map(({ name, rows, rowsLeftOut }) => ({
        section: name,
        rows: rows.length,
        rows_left_out: rowsLeftOut,
      })),
      left_out: leftOut,
    },
  };
}

async function openRows(
  list: SectionOf<"rows">,
  template: ReportTemplate,
  request: ReportRequest,
  { db, copy }: JobContext,
  { run, signal, progress }: RunWork,
): Promise<RowStream> {
  const { account_id: accountId, from, to, format } = request;
  if (format === "html") throw new PermanentJobError("other_template", "A list of messages is no html.");
  const filters = bothFilters(request.filters, list.filters ?? {});
  const rows = selectRows(messages, { accountId, from, to, filters });
  progress.totalRows = await countRows(db, rows, signal);
  return streamRows(
    progress.totalRows > 0 ? copy : noRows,
    {
      rows,
      columns: pickColumns(rows.columns, list.columns),
      name: "messages",
      format,
      createdAt: run.created_at,
      csv: request.csv,
      pretty: request.json?.pretty,
      head: describeReport(request, run, template),
    },
    signal,
  );
}

/** Where none were counted: to plan a COPY would cost more than the rest of such a report. */
const noRows: Pick<CopySource, "stream"> = { stream: async () => Readable.from([NO_ROWS]) };
