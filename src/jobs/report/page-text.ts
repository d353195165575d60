import { readStep, type StepKind } from "../../analytics/flow.js";
import { changeText, type NumberText, numberText } from "../../exports/html/number-text.js";
import type { Cell } from "../../exports/html/page.js";
import { bucketText, weekdayTexts } from "../../exports/html/time-text.js";
import type { ReportFile } from "./report-file.js";
import type { KeyColumn, SectionTable, ValueColumn } from "./section-table.js";
import { numberStyle } from "./unit-formats.js";

/** What is shown where nothing is known. */
export const NOTHING = "–";

/** How a page says values: in its language, in the zone of its report, and as its template wants numbers. */
export interface PageText {
  number(value: ValueColumn): NumberText;
  change(value: ValueColumn): NumberText;
  bucket(table: SectionTable): ReturnType<typeof bucketText>;
  weekdays: string[];
  key(table: SectionTable, key: KeyColumn, value: string | number | null | undefined): Cell;
}

export function pageText({ template, request, head }: ReportFile): PageText {
  const locale = request.locale ?? template.locale;
  const weekdays = weekdayTexts(locale);
  const bucket = ({ interval }: SectionTable) => bucketText(locale, head.time_zone, interval ?? "day");
  const numbers = new Map<string, NumberText>();
  return {
    weekdays,
    bucket,
    number({ unit }) {
      const known = numbers.get(unit) ?? numberText(locale, numberStyle(unit, template.number_formats));
      numbers.set(unit, known);
      return known;
    },
    change: ({ unit }) => changeText(locale, unit === "ratio"),
    key: (table, key, value) => keyCell(key, value, () => bucket(table).long, weekdays),
  };
}

function keyCell(
  { name, type }: KeyColumn,
  value: string | number | null | undefined,
  bucket: () => (time: Date) => string,
  weekdays: readonly string[],
): Cell {
  if (value === null || value === undefined) return { kind: "none", text: "not known" };
  if (type === "bucket") return { kind: "time", text: bucket()(new Date(value)), time: String(value) };
  if (name === "weekday") return { kind: "text", text: weekdays[Number(value) - 1]! };
  if (typeof value === "number") return { kind: "number", text: String(value), value };
  return { kind: "text", text: value };
}

export const stepWords: Record<StepKind, string> = {
  inbound: "Customer",
  outbound: "Business",
  button: "Button",
  template: "Template",
};

/** What a step of a conversation is called in a drawing, whose colours say who speaks: `text`, a template's name. */
export function stepText(step: string): { kind: StepKind; label: string } {
  const { kind, label } = readStep(step);
  return { kind, label: label === "" ? stepWords[kind] : label };
}

export const numberCell = (value: string | number | null | undefined, text: NumberText): Cell =>
  typeof value === "number" ? { kind: "number", text: text(value), value } : { kind: "none", text: NOTHING };
