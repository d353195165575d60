import type { WorksheetWriter } from "./xlsx.js";
import { textCell } from "./xlsx-cells.js";

/** How a sheet for people looks; without one it is a bare table with a bold header. */
export interface XlsxLook {
  /** What stands above the header, the title first. */
  lines: readonly string[];
  /** Columns, from 0 on, whose cells show how large they are: by bars or shades from 0 on, or by shades from the least on. */
  marks: readonly { kind: "bars" | "heat" | "scale"; first: number; last: number }[];
}

/** The number of the header's row. */
export const headerRow = (look: XlsxLook | undefined): number => (look?.lines.length ?? 0) + 1;

const FONT = { name: "Calibri", size: 11 };
const GREY = "FF5B6875";
const PALE = "FFE3EFED";
const STRONG = "FF3FA596";
const WHITE = "FFFFFFFF";

/** What we need of exceljs 4.4 beyond its types; `xlsx.test.ts` fails when it changes. */
interface WorksheetInternals {
  _writeConditionalFormatting: () => void;
  stream: { write(xml: string): void };
}

/**
 * Marks that Excel draws itself. Their XML is ours: what exceljs writes of a bar names an extension that it leaves out,
 * which Excel may take for damage.
 */
export function markCells(page: WorksheetWriter, look: XlsxLook, from: number, to: number): void {
  const letter = (column: number) => page.getColumn(column + 1).letter;
  const xml = look.marks.map(
    ({ kind, first, last }, index) =>
      `<conditionalFormatting sqref="${letter(first)}${from}:${letter(last)}${to}">${ruleXml(kind, index + 1)}</conditionalFormatting>`,
  );
  const internals = page as unknown as WorksheetInternals;
  internals._writeConditionalFormatting = () => internals.stream.write(xml.join(""));
}

function ruleXml(kind: XlsxLook["marks"][number]["kind"], priority: number): string {
  const [zero, least, most] = ['<cfvo type="num" val="0"/>', '<cfvo type="min"/>', '<cfvo type="max"/>'];
  const color = (argb: string) => `<color rgb="${argb}"/>`;
  const [type, content] =
    kind === "bars"
      ? ["dataBar", zero + most + color(STRONG)]
      : ["colorScale", (kind === "heat" ? zero : least) + most + color(WHITE) + color(STRONG)];
  return `<cfRule type="${type}" priority="${priority}"><${type}>${content}</${type}></cfRule>`;
}

/** Of the header's row: room for two lines. */
export const headerLook = {
  height: 32,
  font: { ...FONT, bold: true },
  fill: { type: "pattern", pattern: "solid", fgColor: { argb: PALE } },
  alignment: { vertical: "top", wrapText: true },
} as const;

export function writeLines(page: WorksheetWriter, look: XlsxLook | undefined): void {
  for (const [index, line] of (look?.lines ?? []).entries()) {
    const row = page.getRow(index + 1);
    row.values = [textCell(line)];
    row.font = index === 0 ? { ...FONT, bold: true, size: 14 } : { ...FONT, color: { argb: GREY } };
    row.commit();
  }
}
