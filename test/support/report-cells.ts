import * as xlsx from "@e965/xlsx";
import Papa from "papaparse";
import { parse as parseHtml, type DefaultTreeAdapterTypes as Tree } from "parse5";
import { findMetric } from "../../src/analytics/catalog.js";

/** Numbers of a report by where they stand: `section | bucket | values of dimensions | metric`. */
export type Cells = Map<string, number | null>;

interface LongRow {
  section: string;
  bucket: string | null;
  dimension: string | null;
  value_of: string | number | null;
  metric: string;
  value: number | null;
}

const place = (section: string, bucket: unknown, values: unknown, metric: string) =>
  [section, bucket ?? "", values ?? "", metric].join(" | ");

const several = (values: readonly unknown[]): unknown =>
  values.length > 1 ? JSON.stringify(values) : values[0];

export const cellsOfRows = (rows: readonly LongRow[]): Cells =>
  new Map(rows.map((row) => [place(row.section, row.bucket, row.value_of, row.metric), row.value]));

export const cellsOfNdjson = (text: string): Cells =>
  cellsOfRows(
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as LongRow),
  );

/** Without the guard against formulas, which these texts do not need. */
export function cellsOfCsv(text: string): Cells {
  const { data } = Papa.parse<Record<string, string>>(text, {
    ...{ header: true, newline: "\r\n", skipEmptyLines: true },
  });
  return new Map(
    data.map((row) => [
      place(row.section!, row.bucket, row.value_of, row.metric!),
      row.value === "" ? null : Number(row.value),
    ]),
  );
}

/** A pretty JSON document, which says what the sections are made of too. */
export interface ReportDocument {
  units: Record<string, string>;
  sections: { section: string; title?: string; rows: Record<string, string | number | null>[] }[];
}

const keysOf = ({ units }: ReportDocument, row: object) =>
  Object.keys(row).filter((name) => !(name in units) && name !== "bucket");

export function cellsOfDocument(document: ReportDocument): Cells {
  const cells: Cells = new Map();
  for (const { section, rows } of document.sections)
    for (const row of rows) {
      const values = several(keysOf(document, row).map((name) => row[name]));
      for (const metric of Object.keys(row).filter((name) => name in document.units))
        cells.set(place(section, row.bucket, values, metric), row[metric] as number | null);
    }
  return cells;
}

/** The sheets of a styled workbook, read by SheetJS: the document says how each of them is laid out. */
export function cellsOfWorkbook(bytes: Buffer, document: ReportDocument): Cells {
  const book = xlsx.read(bytes);
  const table = (name: string) =>
    xlsx.utils.sheet_to_json<unknown[]>(book.Sheets[name]!, { header: 1, raw: true, defval: null });
  const cells: Cells = new Map();
  const overview = book.Sheets.Overview ? table("Overview") : [];
  for (const { section, title, rows } of document.sections) {
    const [first] = rows;
    if (first && "period" in first) {
      for (const row of overview.filter(([name]) => name === title)) {
        const metric = Object.keys(first).find((id) => findMetric(id)?.title === row[1])!;
        for (const [index, period] of ["current", "previous", "change"].entries())
          cells.set(place(section, null, period, metric), row[2 + index] as number | null);
      }
      continue;
    }
    const sheet = table(section.replaceAll("_", " ").slice(0, 31));
    const columns = Object.keys(first ?? {});
    const data = sheet.slice(sheet.length - (first && "hour" in first ? 7 : rows.length));
    if (first && "hour" in first) {
      const metric = columns.at(-1)!;
      for (const [day, row] of data.entries())
        for (const [hour, value] of row.slice(1).entries())
          cells.set(place(section, null, JSON.stringify([day + 1, hour]), metric), value as number | null);
      continue;
    }
    for (const row of rows.length > 0 ? data : []) {
      const named = Object.fromEntries(columns.map((name, index) => [name, row[index] ?? null]));
      const bucket = "bucket" in named ? isoOf(named.bucket as number) : null;
      const values = several(keysOf(document, named).map((name) => named[name]));
      for (const metric of columns.filter((name) => name in document.units))
        cells.set(place(section, bucket, values, metric), named[metric] as number | null);
    }
  }
  return cells;
}

const isoOf = (serial: number) => new Date(Math.round((serial - 25_569) * 86_400_000)).toISOString();

export const elements = (node: Tree.Node, name: string): Tree.Element[] =>
  "childNodes" in node
    ? node.childNodes.flatMap((child) => [
        ...("tagName" in child && child.tagName === name ? [child] : []),
        ...elements(child, name),
      ])
    : [];
export const attribute = (element: Tree.Element, name: string): string | undefined =>
  element.attrs.find((one) => one.name === name)?.value;
export const textOf = (node: Tree.Node): string =>
  "value" in node ? node.value : "childNodes" in node ? node.childNodes.map(textOf).join("") : "";

/** What a cell says to programs. */
function saidBy(cell: Tree.Element): string | number | null {
  const [data] = elements(cell, "data");
  if (data) return Number(attribute(data, "value"));
  const [time] = elements(cell, "time");
  if (time) return attribute(time, "datetime")!;
  return elements(cell, "bdi").length > 0 ? textOf(cell) : null;
}

export function cellsOfPage(text: string): Cells {
  const cells: Cells = new Map();
  for (const table of elements(parseHtml(text), "table")) {
    const section = attribute(table, "data-section")!;
    const [head, ...rows] = elements(table, "tr");
    const names = elements(head!, "th").map((cell) => attribute(cell, "data-name")!);
    const titles = new Map(elements(head!, "th").map((cell, index) => [names[index]!, textOf(cell)]));
    for (const [index, row] of rows.entries()) {
      const keys = elements(row, "th").map(saidBy);
      const values = elements(row, "td").map(saidBy) as (number | null)[];
      const columns = names.slice(keys.length);
      for (const [at, value] of values.entries()) {
        const column = columns[at]!;
        if (names[0] === "metric") {
          const period = column === "value" ? null : column;
          cells.set(`${section} | | ${period ?? ""} | title:${keys[0]}`.replace("| |", "|  |"), value);
        } else if (names[0] === "weekday")
          cells.set(place(section, null, JSON.stringify([index + 1, Number(column)]), "*"), value);
        else if (names[0] === "bucket")
          cells.set(place(section, keys[0], several(keys.slice(1)), column), value);
        else cells.set(place(section, null, several(keys), column), value);
      }
    }
    if (titles.size !== names.length) throw new Error(`${section} has a column twice`);
  }
  return cells;
}

/** The same cells under the names that a page has for them: metrics of figures by title, that of an hour by none. */
export function asOnPage(cells: Cells, document: ReportDocument): Cells {
  const kindOf = new Map(
    document.sections.map(({ section, rows: [row] }) => [
      section,
      row && "hour" in row
        ? "hours"
        : !row || "period" in row || keysOf(document, row).length + Number("bucket" in row) === 0
          ? "figures"
          : "rows",
    ]),
  );
  return new Map(
    [...cells].map(([key, value]) => {
      const parts = key.split(" | ");
      const metric = parts.at(-1)!;
      const kind = kindOf.get(parts[0]!);
      const name =
        kind === "hours" ? "*" : kind === "figures" ? `title:${findMetric(metric)!.title}` : metric;
      return [[...parts.slice(0, -1), name].join(" | "), value];
    }),
  );
}
