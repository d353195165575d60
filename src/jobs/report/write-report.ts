import { Readable } from "node:stream";
import type { ColumnType } from "../../exports/columns.js";
import { csvHead, csvLine } from "../../exports/csv.js";
import { prettyDocument } from "../../exports/json.js";
import type { RowStream } from "../write-rows.js";
import { type ReportFile, rowsOf } from "./report-file.js";
import type { SectionTable } from "./section-table.js";

/** Writes the sections of a report as a file of the format that is asked for. They are small, so it is made in memory. */
export async function writeReport(file: ReportFile): Promise<RowStream> {
  const { format, json } = file.request;
  if (format === "xlsx") return (await import("./write-workbook.js")).writeWorkbook(file);
  if (format === "html") return (await import("./write-page.js")).writePage(file);
  return format === "json" && json?.pretty ? writeDocument(file) : writeLongTable(file);
}

const longColumns = ["section", "bucket", "dimension", "value_of", "metric", "value"] as const;
const longTypes: readonly ColumnType[] = ["text", "text", "text", "text", "text", "number"];

type LongRow = Record<(typeof longColumns)[number], string | number | null>;

/** All tables as one long one: a row per section, key and metric, and one for each limit. */
export function longRows({ tables, leftOut }: Pick<ReportFile, "tables" | "leftOut">): LongRow[] {
  const limit = (section: string, why: string | undefined, metric: string, value: number): LongRow => ({
    ...{ section, bucket: null, dimension: "left_out", value_of: why ?? null, metric, value },
  });
  return [
    ...tables.flatMap((table) => [
      ...tableRows(table),
      ...(table.rowsLeftOut > 0
        ? [limit(table.name, table.leftOutBecause, "rows_left_out", table.rowsLeftOut)]
        : []),
    ]),
    ...leftOut.map(({ section, message }) => limit(section, message, "section_left_out", 1)),
  ];
}

/** Several keys are told by their names with commas between, and by their values as a JSON array. */
function tableRows({ name, keys, values, rows }: SectionTable): LongRow[] {
  const dimensions = keys.filter(({ type }) => type !== "bucket").map((key) => key.name);
  const isTimed = dimensions.length < keys.length;
  const [only] = dimensions;
  return rows.flatMap((row) => {
    const known = dimensions.map((key) => row[key] ?? null);
    return values.map((value) => ({
      section: name,
      bucket: isTimed ? (row.bucket ?? null) : null,
      dimension: only === undefined ? null : dimensions.join(","),
      value_of: known.length > 1 ? JSON.stringify(known) : (known[0] ?? null),
      metric: value.name,
      value: row[value.name] ?? null,
    }));
  });
}

function writeLongTable(file: ReportFile): RowStream {
  const { format, csv } = file.request;
  const rows = longRows(file);
  const lines = rows.map((row) =>
    format === "csv" ? csvLine(Object.values(row), longTypes, csv) : JSON.stringify(row),
  );
  const names = longColumns.map((name) => ({ name }));
  const text =
    format === "csv"
      ? csvHead(names, csv) + lines.join("")
      : format === "ndjson"
        ? lines.map((line) => `${line}\n`).join("")
        : `[\n${lines.join(",\n")}\n]\n`;
  return { bytes: Readable.from([Buffer.from(text)]), rows: () => rows.length };
}

function writeDocument({ template, head, tables, leftOut }: ReportFile): RowStream {
  const about = { ...head, units: unitsOf(tables), ...(leftOut.length > 0 ? { left_out: leftOut } : {}) };
  const isPlain = template.workbook === "plain";
  const { bytes } = prettyDocument(
    about,
    "sections",
    tables.map((table) => JSON.stringify(nested(table, isPlain ? undefined : table.title))),
  );
  return { bytes, rows: () => rowsOf(tables) };
}

const unitsOf = (tables: readonly SectionTable[]) =>
  Object.fromEntries(tables.flatMap(({ values }) => values.map(({ name, unit }) => [name, unit])));

/** A row holds its keys, if it has some, and its metrics. */
export const nested = ({ name, keys, values, rows, ...table }: SectionTable, title?: string) => ({
  section: name,
  ...(title === undefined ? {} : { title }),
  rows: rows.map((row) =>
    Object.fromEntries([...keys, ...values].map((field) => [field.name, row[field.name] ?? null])),
  ),
  ...(table.comparedWith ? { compared_with: table.comparedWith } : {}),
  ...(table.rowsLeftOut > 0
    ? { rows_left_out: table.rowsLeftOut, left_out_because: table.leftOutBecause }
    : {}),
});
