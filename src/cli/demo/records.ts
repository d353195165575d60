import { readFile } from "node:fs/promises";
import Papa from "papaparse";

export const formats = ["csv", "json", "ndjson", "xlsx"] as const;
export type Format = (typeof formats)[number] | "html";

/** How many data rows a finished file holds, headers not counted, read by somebody who did not write it. */
export async function countRecords(file: string, format: Format): Promise<number> {
  switch (format) {
    case "csv":
      return countCsv(await readFile(file, "utf8"));
    case "json":
      return (JSON.parse(await readFile(file, "utf8")) as unknown[]).length;
    case "ndjson":
      return (await readFile(file, "utf8"))
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line)).length;
    case "xlsx":
      return await countXlsx(file);
    case "html":
      return (await readFile(file, "utf8")).split('<tr><th scope="row">').length - 1;
  }
}

/** A CSV record may hold line breaks, so lines cannot simply be counted. */
function countCsv(text: string): number {
  let records = 0;
  Papa.parse(text, { skipEmptyLines: true, step: () => records++ });
  return records - 1;
}

/**
 * Each sheet has one header row. The sheet `about`, known by the header `property`, describes the others and holds no data;
 * a stream may bring the sheets before their names.
 */
async function countXlsx(file: string): Promise<number> {
  const { default: exceljs } = await import("exceljs");
  const workbook = new exceljs.stream.xlsx.WorkbookReader(file, {
    worksheets: "emit",
    sharedStrings: "ignore",
    styles: "ignore",
    hyperlinks: "ignore",
  });
  let rows = 0;
  for await (const sheet of workbook) {
    let header: unknown;
    let inSheet = -1;
    for await (const row of sheet) {
      if (inSheet++ === -1) header = row.getCell(1).value;
    }
    if (header !== "property") rows += inSheet;
  }
  return rows;
}
