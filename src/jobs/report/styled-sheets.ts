import { weekdayTexts } from "../../exports/html/time-text.js";
import type { XlsxColumn } from "../../exports/xlsx.js";
import { comparedWith, leftOutNote, limitNote, type ReportFile } from "./report-file.js";
import type { SectionTable, ValueColumn } from "./section-table.js";
import { type DataSheet, keyColumn, sheetName } from "./sheet-columns.js";
import { excelFormat } from "./unit-formats.js";

type Template = ReportFile["template"];

const CHANGE_FORMAT = "+0.0%;-0.0%;0.0%";

/** As people read it: the figures first, then a sheet per table with a title, bars and colours. */
export function styledSheets(file: ReportFile): DataSheet[] {
  const { tables, template } = file;
  const figures = tables.filter(isFigures);
  const others = tables.filter((table) => !isFigures(table));
  return [
    ...(figures.length > 0 ? [overviewSheet(file, figures)] : []),
    ...others.map((table) =>
      table.kind === "heatmap" ? heatmapSheet(table, file) : tableSheet(table, template),
    ),
  ];
}

const isFigures = ({ kind, keys }: SectionTable): boolean => kind === "comparison" || keys.length === 0;

function overviewSheet({ template, head, leftOut }: ReportFile, figures: readonly SectionTable[]): DataSheet {
  const compared = comparedWith(figures);
  const rows = figures.flatMap(({ title, kind, values, rows: [current, previous, change] }) =>
    values.map((value) => [
      ...[title, value.title, current?.[value.name] ?? null],
      ...(kind === "comparison"
        ? [previous?.[value.name] ?? null, change?.[value.name] ?? null]
        : [null, null]),
      value.unit,
    ]),
  );
  return {
    name: "Overview",
    columns: [
      { name: "Section", type: "text", width: 34 },
      { name: "Metric", type: "text", width: 34 },
      { name: "Value", type: "number", width: 16 },
      { name: "Period before", type: "number", width: 16 },
      { name: "Change (of rates: in points)", type: "number", width: 20 },
      { name: "Unit", type: "text", width: 18 },
    ],
    rows,
    formatOf: (row, column) => {
      if (column === 4) return CHANGE_FORMAT;
      return column === 2 || column === 3
        ? excelFormat(row[5] as ValueColumn["unit"], template.number_formats)
        : undefined;
    },
    look: {
      lines: [
        template.title,
        ...(template.description ? [template.description] : []),
        `Account ${head.account_id}, from ${head.from} to ${head.to} (exclusive), times in ${head.time_zone}.`,
        compared
          ? `Compared with ${compared.from} to ${compared.to} (exclusive).`
          : "Nothing is kept of the period before.",
        ...leftOut.map(leftOutNote),
      ],
      marks: [],
    },
  };
}

const linesOf = (table: SectionTable): string[] =>
  [table.title, table.description, limitNote(table)].filter(
    (line) => line !== undefined && line !== "",
  ) as string[];

/** Counts get bars; rates and times, where more is not better, a scale of colours. */
function tableSheet(table: SectionTable, { number_formats }: Template): DataSheet {
  const { name, keys, values, rows, interval } = table;
  return {
    name: sheetName(name),
    columns: [
      ...keys.map((key): XlsxColumn => ({ ...keyColumn(key, interval), name: key.title })),
      ...values.map(
        (value): XlsxColumn => ({
          ...{ name: value.title, type: "number", width: 16 },
          numberFormat: excelFormat(value.unit, number_formats),
        }),
      ),
    ],
    rows: rows.map((row) => [...keys, ...values].map((field) => row[field.name] ?? null)),
    look: {
      lines: linesOf(table),
      marks: values.map(({ unit }, index) => ({
        kind: unit === "ratio" || unit === "seconds" ? "scale" : "bars",
        first: keys.length + index,
        last: keys.length + index,
      })),
    },
  };
}

const HOURS = 24;

/** The hours of the week as a grid. */
function heatmapSheet(table: SectionTable, { template, request }: ReportFile): DataSheet {
  const [value] = table.values;
  const weekdays = weekdayTexts(request.locale ?? template.locale);
  return {
    name: sheetName(table.name),
    columns: [
      { name: "Weekday", type: "text", width: 12 },
      ...Array.from(
        { length: HOURS },
        (_, hour): XlsxColumn => ({
          ...{ name: `${String(hour).padStart(2, "0")}:00`, type: "number", width: 9 },
          numberFormat: excelFormat(value!.unit, template.number_formats),
        }),
      ),
    ],
    rows: weekdays.map((weekday, day) => [
      weekday,
      ...table.rows.slice(day * HOURS, (day + 1) * HOURS).map((row) => row[value!.name] ?? null),
    ]),
    look: { lines: linesOf(table), marks: [{ kind: "heat", first: 1, last: HOURS }] },
  };
}
