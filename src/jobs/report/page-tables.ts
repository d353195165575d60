import type { Cell, PageTable } from "../../exports/html/page.js";
import { numberCell, type PageText } from "./page-text.js";
import type { SectionTable } from "./section-table.js";

/** A page is for looking: what is longer is in the other formats. */
const MAX_ROWS = 500;

/** The numbers of a section as a table of the page. */
export function pageTable(table: SectionTable, text: PageText): PageTable {
  if (table.keys.length === 0 || table.kind === "comparison") return figuresTable(table, text);
  return table.kind === "heatmap" ? hoursTable(table, text) : rowsTable(table, text);
}

function rowsTable(table: SectionTable, text: PageText): PageTable {
  const { keys, values, rows } = table;
  const numbers = values.map((value) => text.number(value));
  return {
    ...{ name: table.name, caption: table.title, keys: keys.length, allRows: rows.length },
    head: [
      ...keys.map(({ name, title }) => ({ name, title, isNumber: false })),
      ...values.map(({ name, title }) => ({ name, title, isNumber: true })),
    ],
    rows: rows
      .slice(0, MAX_ROWS)
      .map((row) => [
        ...keys.map((key) => text.key(table, key, row[key.name])),
        ...values.map(({ name }, index) => numberCell(row[name], numbers[index]!)),
      ]),
  };
}

/** A row a metric: there is one row of numbers, or that of the range, the one before and the change. */
function figuresTable({ name, title, kind, values, rows }: SectionTable, text: PageText): PageTable {
  const periods = kind === "comparison" ? ["This period", "Period before", "Change"] : ["Value"];
  const columns = rows.map((row) => String(row.period ?? "value"));
  return {
    ...{ name, caption: title, keys: 1, allRows: values.length },
    head: [
      { name: "metric", title: "Metric", isNumber: false },
      ...periods.map((period, index) => ({ name: columns[index] ?? "value", title: period, isNumber: true })),
    ],
    rows: values.map((value): Cell[] => [
      { kind: "text", text: value.title },
      ...periods.map((_, index) =>
        numberCell(rows[index]?.[value.name], index === 2 ? text.change(value) : text.number(value)),
      ),
    ]),
  };
}

const HOURS = 24;

/** A row a weekday, a column an hour. */
function hoursTable({ name, title, values, rows }: SectionTable, text: PageText): PageTable {
  const [value] = values;
  const number = text.number(value!);
  const clock = (hour: number) => `${String(hour).padStart(2, "0")}:00`;
  return {
    ...{ name, caption: title, keys: 1, allRows: text.weekdays.length },
    head: [
      { name: "weekday", title: "Weekday", isNumber: false },
      ...Array.from({ length: HOURS }, (_, hour) => ({
        ...{ name: String(hour), title: clock(hour), isNumber: true },
      })),
    ],
    rows: text.weekdays.map((weekday, day): Cell[] => [
      { kind: "text", text: weekday },
      ...rows.slice(day * HOURS, (day + 1) * HOURS).map((row) => numberCell(row[value!.name], number)),
    ]),
  };
}
