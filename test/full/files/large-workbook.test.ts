import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import excel from "exceljs";
import pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { expect, inject, it } from "vitest";
import { binaryCopySql } from "../../../src/exports/binary-copy.js";
import type { Column } from "../../../src/exports/columns.js";
import { sheetWorkbook } from "../../../src/exports/xlsx-workbook.js";
import { convert, hasLibreOffice } from "./libre-office.js";

const ROWS = 1_100_000;
const EXCEL_MAX_ROWS = 1_048_576;
const EXTRA_BYTES = 200 * 1024 * 1024;

it("more rows than a sheet holds go on in a second sheet, in bounded memory", {
  timeout: 900_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "large-workbook-test-"));
  const client = new pg.Client(inject("postgresUrl"));
  try {
    await client.connect();
    const path = join(folder, "large.xlsx");
    const columns: Column[] = [
      { name: "n", sql: "n", type: "integer" },
      { name: "phone", sql: "'+49' || n", type: "text" },
    ];
    const before = heldBytes();
    let highest = before;
    const sql = binaryCopySql(columns, `FROM generate_series(0, ${ROWS - 1}) n`);
    const options = { sheetName: "messages", columns, createdAt: new Date(0), timeZone: "UTC" };
    const { bytes, rows } = sheetWorkbook(client.query(copyTo(sql)), options);
    bytes.on("data", () => {
      highest = Math.max(highest, heldBytes());
    });
    await pipeline(bytes, createWriteStream(path));
    expect(rows()).toBe(ROWS);
    expect(highest - before).toBeLessThan(EXTRA_BYTES);
    expect(await countRows(path)).toEqual([EXCEL_MAX_ROWS, ROWS - (EXCEL_MAX_ROWS - 1) + 1]);
    if (hasLibreOffice) await readByLibreOffice(await readFile(path));
  } finally {
    await client.end();
    await rm(folder, { recursive: true, force: true });
  }
});

function heldBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Of each sheet, headers included. */
async function countRows(path: string): Promise<number[]> {
  const workbook = new excel.stream.xlsx.WorkbookReader(path, {
    worksheets: "emit",
    sharedStrings: "ignore",
    styles: "ignore",
    hyperlinks: "ignore",
  });
  const counts: number[] = [];
  for await (const sheet of workbook) {
    let count = 0;
    for await (const _row of sheet) count++;
    counts.push(count);
  }
  return counts;
}

/** No row is missing, doubled or changed: the second sheet goes on where the first ends, under the same header. */
async function readByLibreOffice(bytes: Buffer): Promise<void> {
  const to = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1";
  const saved = await convert(bytes, { extension: "xlsx", to });
  expect([...saved.keys()].sort()).toEqual(["in-messages 2.csv", "in-messages.csv"]);
  let next = 0;
  for (const name of ["in-messages.csv", "in-messages 2.csv"]) {
    const [head, ...lines] = saved.get(name)!.replaceAll('"', "").trimEnd().split("\n");
    expect(head).toBe("n,phone");
    for (const line of lines) {
      if (line !== `${next},+49${next}`) expect(line).toBe(`${next},+49${next}`);
      next++;
    }
  }
  expect(next).toBe(ROWS);
}
