import type { ReportTemplate } from "../../analytics/report-templates/definition.js";
import type { LeftOutSection } from "../../analytics/report-templates/plan-sections.js";
import type { ReportRequest } from "../run-requests.js";
import type { ReportHead } from "./describe-report.js";
import type { SectionTable } from "./section-table.js";

/** Everything that a file of numbers is written from; the same gives the same bytes. */
export interface ReportFile {
  template: Pick<ReportTemplate, "title" | "description" | "workbook" | "locale" | "number_formats">;
  request: Pick<ReportRequest, "format" | "csv" | "json" | "locale">;
  head: ReportHead;
  tables: readonly SectionTable[];
  leftOut: readonly LeftOutSection[];
  createdAt: Date;
}

export const rowsOf = (tables: readonly { rows: readonly unknown[] }[]): number =>
  tables.reduce((sum, { rows }) => sum + rows.length, 0);

/** A limit that shows in a table, in a sentence. */
export const limitNote = ({ rowsLeftOut, leftOutBecause }: SectionTable): string | undefined =>
  rowsLeftOut === 0
    ? undefined
    : `${rowsLeftOut.toLocaleString("en")} more ${rowsLeftOut === 1 ? "row is" : "rows are"} left out (${leftOutBecause}).`;

/** The range that figures are compared with: the same in all sections. */
export const comparedWith = (tables: readonly SectionTable[]): SectionTable["comparedWith"] =>
  tables.find((table) => table.comparedWith)?.comparedWith;

export const leftOutNote = ({ section, message }: LeftOutSection): string =>
  `The section ${section} is left out: ${message}`;
