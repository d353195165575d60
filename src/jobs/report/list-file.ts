import { type ReportTemplate, rowsSection } from "../../analytics/report-templates/definition.js";
import { bothFilters } from "../../analytics/report-templates/plan-sections.js";
import type { SectionOf } from "../../analytics/report-templates/sections.js";
import { pickColumns, selectRows } from "../../db/datasets/dataset.js";
import { messages } from "../../db/datasets/messages.js";
import type { Run } from "../../db/queries/runs.js";
import { PermanentJobError } from "../../errors.js";
import type { OpenedDataset } from "../open-dataset.js";
import type { ReportRequest } from "../run-requests.js";
import type { RowFile } from "../write-rows.js";
import { describeReport } from "./describe-report.js";

/** The file of a report that lists messages; undefined for one of numbers. */
export function listFile(
  template: ReportTemplate,
  request: ReportRequest,
  run: Pick<Run, "created_at">,
): RowFile | undefined {
  const list = rowsSection(template);
  if (!list) return undefined;
  const { format, csv, compression } = request;
  if (format === "html") throw new PermanentJobError("other_template", "A list of messages is no html.");
  return {
    ...selectList(list, request),
    ...{ name: "messages", format, csv, compression, createdAt: run.created_at },
    pretty: request.json?.pretty,
    head: describeReport(request, run, template),
  };
}

/** The messages that pass both filters, and the columns that the template wants. */
export function selectList(
  list: SectionOf<"rows">,
  asked: Pick<ReportRequest, "account_id" | "from" | "to" | "filters">,
): OpenedDataset {
  const { account_id: accountId, from, to } = asked;
  const filters = bothFilters(asked.filters, list.filters ?? {});
  const rows = selectRows(messages, { accountId, from, to, filters });
  return { rows, columns: pickColumns(rows.columns, list.columns) };
}
