import type { Unit } from "../../analytics/catalog.js";
import type { ReportTemplate } from "../../analytics/report-templates/definition.js";
import type { NumberStyle } from "../../exports/html/number-text.js";

type Overrides = ReportTemplate["number_formats"];

/** How the values of a unit are shown where a template says nothing: in a workbook, and on a page, which is read at a glance. */
interface UnitFormat {
  style: NumberStyle["style"];
  decimals: { workbook: number; page: number };
  grouping: boolean;
  /** Behind the number in a workbook. */
  suffix?: string;
}

const count: UnitFormat = { style: "count", decimals: { workbook: 0, page: 0 }, grouping: true };
const unitFormats: Record<Unit, UnitFormat> = {
  messages: count,
  contacts: count,
  reactions: count,
  recipients: count,
  conversations: count,
  turns: count,
  per_conversation: { ...count, decimals: { workbook: 1, page: 1 } },
  ratio: { style: "percent", decimals: { workbook: 2, page: 1 }, grouping: false, suffix: "%" },
  seconds: { style: "seconds", decimals: { workbook: 3, page: 2 }, grouping: true, suffix: '" s"' },
  per_minute: { style: "per_minute", decimals: { workbook: 2, page: 2 }, grouping: true, suffix: '" /min"' },
};

/** As Excel writes it. Which character groups digits is up to the reader's Excel. */
export function excelFormat(unit: Unit, overrides: Overrides = {}): string {
  const { grouping, decimals, suffix = "" } = unitFormats[unit];
  const own = overrides[unit];
  const places = own?.decimals ?? decimals.workbook;
  const whole = (own?.grouping ?? grouping) ? "#,##0" : "0";
  return `${whole}${places > 0 ? `.${"0".repeat(places)}` : ""}${suffix}`;
}

export function numberStyle(unit: Unit, overrides: Overrides): NumberStyle {
  const { style, grouping, decimals } = unitFormats[unit];
  const own = overrides[unit];
  return { style, decimals: own?.decimals ?? decimals.page, grouping: own?.grouping ?? grouping };
}
