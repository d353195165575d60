import type { ReportTemplate } from "../analytics/report-templates/definition.js";
import { planSections } from "../analytics/report-templates/plan-sections.js";
import { longSession } from "../db/long-session.js";
import { findAccount, queriedAccount } from "../db/queries/accounts.js";
import { NotFound } from "../errors.js";
import { buildRows } from "./build-rows.js";
import { defineJob, type JobContext } from "./define-job.js";
import { fileName, publishFile } from "./publish-file.js";
import { describeReport } from "./report/describe-report.js";
import { findTemplate } from "./report/find-template.js";
import { listFile } from "./report/list-file.js";
import { readSections } from "./report/read-sections.js";
import { writeReport } from "./report/write-report.js";
import { runKey } from "./run-key.js";
import { type ReportRequest, reportRequest } from "./run-requests.js";
import { withParts } from "./with-parts.js";
import { giveUpRun, type RunOutcome, type RunWork } from "./with-run.js";

/**
 * Builds one report file. Safe to run twice or killed anywhere: the file is written under a key of this attempt and
 * made visible by one conditional update. Cost: sections of numbers read rollups, in one snapshot; a list of messages is
 * built as an export is.
 */
export const buildReport = defineJob({
  kind: "reports.build",
  queue: "reports",
  payload: runKey,
  timeoutMs: 60 * 60_000,
  onGivenUp: giveUpRun,
  run: (key, context) =>
    withParts(key, context, async (work) => {
      const request = reportRequest.parse(work.run.params);
      const template = await findTemplate(context.db, request);
      const list = listFile(template, request, work.run);
      return list
        ? buildRows(context, work, list, { fileName: fileName(request.template, request) })
        : buildNumbers(context, work, template, request);
    }),
});

async function buildNumbers(
  context: JobContext,
  work: RunWork,
  template: ReportTemplate,
  request: ReportRequest,
): Promise<RunOutcome> {
  const { db } = context;
  const { run, signal } = work;
  const account = await findAccount(db, request.account_id);
  if (!account) throw new NotFound("account_not_found", "There is no such account.");
  const { sections, leftOut } = planSections(template, request, queriedAccount(account));
  // What has passed is told as of the request: another attempt says the same.
  const options = { now: run.created_at, signal };
  const { tables, asOf } = await longSession(db, signal, (session) =>
    readSections(session, sections, request.account_id, options),
  );
  const head = describeReport(request, run, template);
  const file = { template, request, head, tables, leftOut, createdAt: run.created_at };
  const name = fileName(request.template, request);
  return {
    artifact: await publishFile(context, work, await writeReport(file), { name, ...request }),
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
