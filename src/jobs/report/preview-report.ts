import type { z } from "zod";
import { type ReportTemplate, rowsSection } from "../../analytics/report-templates/definition.js";
import { planSections } from "../../analytics/report-templates/plan-sections.js";
import type { Db } from "../../db/client.js";
import { readFirstRows } from "../../db/datasets/dataset.js";
import type { AccountRow } from "../../db/queries/accounts.js";
import { queriedAccount } from "../../db/queries/accounts.js";
import type { reportFields } from "../run-requests.js";
import { requireMessageFilters } from "./freeze-report.js";
import { selectList } from "./list-file.js";
import { readSections } from "./read-sections.js";
import { nested } from "./write-report.js";

const PREVIEW_ROWS = 50;
/** A ranking needs all of its rows to know the first ones. */
const MAX_RANKED_ROWS = 10_000;

type Asked = z.output<z.ZodObject<typeof reportFields>>;

interface PreviewSection {
  section: string;
  title?: string;
  rows: Record<string, unknown>[];
  /** There are more rows than these. */
  truncated: boolean;
}

export interface Preview {
  as_of: string | null;
  sections: PreviewSection[];
  left_out: { section: string; code: string; message: string }[];
}

/**
 * The first 50 rows of every section at once. Of lists in time and of messages no more is read than that; a ranking of
 * more than 10,000 rows is refused. Throws `InvalidInput`.
 */
export async function previewReport(
  db: Db,
  template: ReportTemplate,
  asked: Asked,
  account: AccountRow,
  options: { now: Date; signal: AbortSignal },
): Promise<Preview> {
  const list = rowsSection(template);
  if (list) {
    requireMessageFilters(asked);
    const selected = selectList(list, { ...asked, account_id: account.account_id });
    const rows = await readFirstRows(db, selected.rows, selected.columns, PREVIEW_ROWS + 1);
    const section = {
      section: list.id,
      rows: rows.slice(0, PREVIEW_ROWS),
      truncated: rows.length > PREVIEW_ROWS,
    };
    return { as_of: null, sections: [section], left_out: [] };
  }
  const { sections, leftOut } = planSections(template, asked, queriedAccount(account));
  const limits = { maxRows: MAX_RANKED_ROWS, firstRows: PREVIEW_ROWS };
  const { tables, asOf } = await readSections(db, sections, account.account_id, { ...options, ...limits });
  return {
    as_of: asOf,
    sections: tables.map((table) => ({
      ...nested({ ...table, rows: table.rows.slice(0, PREVIEW_ROWS) }, table.title),
      truncated: table.isCut || table.rows.length > PREVIEW_ROWS,
    })),
    left_out: leftOut,
  };
}
