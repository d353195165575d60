import { bothFilters } from "../../analytics/report-templates/plan-sections.js";
import type { SectionOf } from "../../analytics/report-templates/sections.js";
import { pickColumns, selectRows } from "../../db/datasets/dataset.js";
import { messages } from "../../db/datasets/messages.js";
import type { OpenedDataset } from "../open-dataset.js";
import type { ReportRequest } from "../run-requests.js";

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
