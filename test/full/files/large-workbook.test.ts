import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import excel from "exceljs";
import pg from "pg";
import { expect, inject, it } from "vitest";
import { copyOut } from "../../../src/db/copy-out.js";
import { binaryCopySql } from "../../../src/exports/binary-copy.js";
import type { Column } from "../../../src/exports/columns.js";
import type { StoredPart } from "../../../src/exports/file-parts.js";
import { partedWorkbook, sheetWorkbook } from "../../../src/exports/xlsx-workbook.js";
import { convert, hasLibreOffice } from "./libre-office.js";

const ROWS = 1_100_000;
const EXCEL_MAX_ROWS = 1_048_576;
const EXTRA_BYTES = 200 * 1024 * 1024;
const CSV_OF_EVERY_SHEET = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1";

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
    const { bytes, rows } = sheetWorkbook(client.query(copyOut(sql)), options);
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

it.runIf(hasLibreOffice)("LibreOffice reads a workbook of parts, each of which is a sheet", async () => {
  const client = new pg.Client(inject("postgresUrl"));
  await client.connect();
  try {
    const columns: Column[] = [
      { name: "n", sql: "n", type: "integer" },
      { name: "odd", sql: "case when n % 2 = 1 then '<' || n || '>' end", type: "text" },
      { name: "text", sql: "'text ' || n", type: "text" },
    ];
    const options = { sheetName: "s", columns, createdAt: new Date(0), timeZone: "UTC" };
    const format = partedWorkbook(options);
    const parts: (StoredPart & { content: Buffer })[] = [];
    for (let first = 0; first < 30; first += 10) {
      const sql = binaryCopySql(format.columns, `FROM generate_series(${first}, ${first + 9}) n`);
      const part = format.part(client.query(copyOut(sql)));
      const content = await buffer(part.bytes);
      parts.push({ content, rows: part.rows(), bytes: content.length, detail: part.detail() });
    }
    const file = Buffer.concat(
      format.join(parts).map((one) => ("inline" in one ? one.inline : parts[one.part]!.content)),
    );
    const saved = await convert(file, { extension: "xlsx", to: CSV_OF_EVERY_SHEET });
    const line = (n: number) => `${n},${n % 2 === 1 ? `<${n}>` : ""},text ${n}`;
    const lines = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => line(from + i));
    for (const [first, name] of [[0, "s"] as const, [10, "s 2"] as const, [20, "s 3"] as const])
      expect(linesOf(saved, `in-${name}.csv`)).toEqual(["n,odd,text", ...lines(first, first + 10)]);
  } finally {
    await client.end();
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

const linesOf = (saved: Map<string, string>, name: string) =>
  saved.get(name)!.replaceAll('"', "").trimEnd().split("\n");

/** No row is missing, doubled or changed: the second sheet goes on where the first ends, under the same header. */
async function readByLibreOffice(bytes: Buffer): Promise<void> {
  const saved = await convert(bytes, { extension: "xlsx", to: CSV_OF_EVERY_SHEET });
  expect([...saved.keys()].sort()).toEqual(["in-messages 2.csv", "in-messages.csv"]);
  let next = 0;
  for (const name of ["in-messages.csv", "in-messages 2.csv"]) {
    const [head, ...lines] = linesOf(saved, name);
    expect(head).toBe("n,phone");
    for (const line of lines) {
      if (line !== `${next},+49${next}`) expect(line).toBe(`${next},+49${next}`);
      next++;
    }
  }
  expect(next).toBe(ROWS);
}
