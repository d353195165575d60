import type { XlsxColumn, XlsxSheet } from "../../exports/xlsx.js";
import { writeXlsx } from "../../exports/xlsx.js";
import { type RowStream, workbookHead } from "../write-rows.js";
import { leftOutNote, limitNote, type ReportFile, rowsOf } from "./report-file.js";
import type { SectionTable } from "./section-table.js";
import { type DataSheet, keyColumn, sheetName } from "./sheet-columns.js";
import { styledSheets } from "./styled-sheets.js";
import { excelFormat } from "./unit-formats.js";

/** The sheets that a template wants, then what the report is about. */
export function writeWorkbook(file: ReportFile): RowStream {
  const data = file.template.workbook === "plain" ? plainSheets(file) : styledSheets(file);
  const sheets = [...data, aboutSheet(file)];
  const bytes = writeXlsx({ sheets, createdAt: file.createdAt, ...workbookHead(file.head) });
  return { bytes, rows: () => rowsOf(data) };
}

/** As programs read it: the totals, then a sheet per table with a column per metric; headers are ids. */
function plainSheets({ tables, template }: ReportFile): DataSheet[] {
  return tables.map((table, index) => {
    const { name, keys, values, rows } = table;
    if (keys.length === 0) return totalsSheet(table, template, index === 0 ? "Summary" : sheetName(name));
    return {
      name: sheetName(name),
      columns: [
        ...keys.map((key) => keyColumn(key, table.interval)),
        ...values.map(
          (value): XlsxColumn => ({
            ...{ name: value.name, type: "number" },
            numberFormat: excelFormat(value.unit, template.number_formats),
          }),
        ),
      ],
      rows: rows.map((row) => [...keys, ...values].map((field) => row[field.name] ?? null)),
    };
  });
}

function totalsSheet(
  { values, rows }: SectionTable,
  { number_formats }: ReportFile["template"],
  name: string,
): DataSheet {
  return {
    name,
    columns: [
      { name: "metric", type: "text" },
      { name: "value", type: "number" },
      { name: "unit", type: "text" },
    ],
    rows: values.map((value) => [value.name, rows[0]?.[value.name] ?? null, value.unit]),
    formatOf: (row, column) =>
      column === 1
        ? excelFormat(row[2] as SectionTable["values"][number]["unit"], number_formats)
        : undefined,
  };
}

function aboutSheet({ head, tables, leftOut }: ReportFile): XlsxSheet {
  const limits = [
    ...tables.flatMap((table) =>
      table.rowsLeftOut > 0 ? [[`limit of ${table.name}`, limitNote(table)]] : [],
    ),
    ...leftOut.map((one) => [`limit of ${one.section}`, leftOutNote(one)]),
  ];
  return {
    name: "about",
    columns: ["property", "value"].map((name) => ({ name, type: "text" })),
    rows: [...Object.entries(head), ...limits],
  };
}
