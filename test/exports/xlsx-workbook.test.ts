import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import excel from "exceljs";
import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copyOut } from "../../src/db/copy-out.js";
import { binaryCopySql } from "../../src/exports/binary-copy.js";
import type { Column } from "../../src/exports/columns.js";
import { sheetWorkbook, type WorkbookOptions } from "../../src/exports/xlsx-workbook.js";
import { createTestDatabase } from "../support/postgres.js";
import { BEGIN, binaryRow, int8 } from "./binary-rows.js";
import { dangerous, harmless } from "./injection-corpus.js";
import { readZip } from "./zip.js";

const createdAt = new Date("2026-03-04T05:06:08Z");

let database: { url: string; drop(): Promise<void> };
let client: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client(database.url);
  await client.connect();
  // Neither may show in a file.
  await client.query("SET TimeZone = 'Asia/Kathmandu'; SET extra_float_digits = 0");
});
afterAll(async () => {
  await client?.end();
  await database?.drop();
});

interface Asked extends Partial<WorkbookOptions> {
  /** Of the column `value`. */
  type: Column["type"];
  /** A query of `n` and `value`. */
  values: string;
}

function workbookOf({ type, values, timeZone = "UTC", ...options }: Asked): Promise<Buffer> {
  const columns: Column[] = [
    { name: "n", sql: "n", type: "integer" },
    { name: "value", sql: "value", type },
  ];
  const source = client.query(copyOut(binaryCopySql(columns, `FROM (${values}) t(n, value) ORDER BY n`)));
  const all = { sheetName: "Messages", columns, createdAt, timeZone, ...options };
  return buffer(sheetWorkbook(source, all).bytes);
}

async function read(bytes: Buffer): Promise<excel.Workbook> {
  const workbook = new excel.Workbook();
  await workbook.xlsx.load(bytes as unknown as Parameters<typeof workbook.xlsx.load>[0]);
  return workbook;
}

async function cellsOf(asked: Asked): Promise<excel.Cell[]> {
  const sheet = (await read(await workbookOf(asked))).getWorksheet("Messages")!;
  return Array.from({ length: sheet.rowCount - 1 }, (_, i) => sheet.getCell(i + 2, 2));
}

const shown = (cell: excel.Cell): excel.CellValue =>
  cell.type === excel.ValueType.RichText ? cell.text : cell.value;

const literals = (values: readonly (string | null)[], type: string) =>
  `VALUES ${values.map((value, i) => `(${i}, ${value === null ? "NULL" : pg.escapeLiteral(value)}::${type})`).join(", ")}`;

const textsBack = async (texts: readonly (string | null)[]) =>
  (await cellsOf({ type: "text", values: literals(texts, "text") })).map(shown);

/** exceljs decodes entities twice. */
const isReadTwice = (text: string) => text.includes("&");

describe("cells", () => {
  test("text is text, whatever it looks like", async () => {
    const texts = [...dangerous, ...harmless].filter((text) => text !== "" && !isReadTwice(text));
    expect(await textsBack(texts)).toEqual(texts);
    const entries = readZip(await workbookOf({ type: "text", values: literals(texts, "text") }));
    for (const { text } of entries) expect(text).not.toMatch(/<f[ >/]|<hyperlink|TargetMode="External"/);
  });

  test("text of any characters comes back", async () => {
    const character = fc.oneof(
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
      fc.constantFrom(..."_x0041 <>\"'\n\r\t\u0001\u001f\u007f\ufffe\u{1f44d}"),
    );
    const text = fc
      .array(character, { maxLength: 12 })
      .map((all) => all.join("").replaceAll("\0", ""))
      .filter((one) => one.isWellFormed() && one !== "" && !isReadTwice(one));
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 60 }), async (texts) => {
        expect(await textsBack(texts)).toEqual(texts);
      }),
      { numRuns: 20 },
    );
  });

  test("an entity in a text is no entity", async () => {
    const bytes = await workbookOf({ type: "text", values: literals(["]]>&amp;"], "text") });
    const sheet = readZip(bytes).find(({ name }) => name.endsWith("sheet1.xml"));
    expect(sheet?.text).toContain('<t xml:space="preserve">]]&gt;&amp;amp;</t>');
  });

  test("text is cut at 32,767 characters and never through a pair", async () => {
    const fits = "x".repeat(32_767);
    const pairs = "👍".repeat(16_383);
    const back = await textsBack([fits, `${fits}y`, "👍".repeat(20_000), null, `${pairs}x`, `x${pairs}y`]);
    const expected = [fits, `${fits.slice(1)}…`, `${pairs}…`, null, `${pairs}x`, `x${pairs.slice(2)}…`];
    expect(back.map((text, i) => text === expected[i])).toEqual(expected.map(() => true));
  });

  test("times are those of the zone's clocks, to the millisecond, and what Excel has no date for stays text", async () => {
    const times = [
      ...["2026-07-01T22:30:00.2509Z", "2026-01-31T23:30:00Z", "1999-06-01T00:00:00Z"],
      ...["1800-01-01T00:00:00Z", "infinity"],
      null,
    ];
    const asked = {
      type: "timestamp",
      values: literals(times, "timestamptz"),
      timeZone: "Europe/Berlin",
    } as const;
    const workbook = await read(await workbookOf({ ...asked, title: "a & b", description: 'of "shop" <1>' }));
    const sheet = workbook.getWorksheet("Messages")!;
    expect(shown(sheet.getCell(1, 2))).toBe("value (Europe/Berlin)");
    const cells = times.map((_, i) => sheet.getCell(i + 2, 2));
    expect(cells.slice(0, 3).map((cell) => [cell.numFmt, (cell.value as Date).toISOString()])).toEqual([
      ["yyyy-mm-dd hh:mm:ss", "2026-07-02T00:30:00.250Z"],
      ["yyyy-mm-dd hh:mm:ss", "2026-02-01T00:30:00.000Z"],
      ["yyyy-mm-dd hh:mm:ss", "1999-06-01T02:00:00.000Z"],
    ]);
    expect(cells.slice(3).map(shown)).toEqual(["1800-01-01T00:00:00.000Z", null, null]);
    expect([workbook.title, workbook.description]).toEqual(["a & b", 'of "shop" <1>']);
    expect([workbook.created, workbook.modified]).toEqual([createdAt, createdAt]);
  });

  test("numbers stay numbers; what a double would round, or is none, stays text", async () => {
    const integers = ["-1", "0", "9007199254740990", "9007199254740993", null];
    const cells = await cellsOf({ type: "integer", values: literals(integers, "bigint") });
    expect(cells.map(shown)).toEqual([-1, 0, 9007199254740990, "9007199254740993", null]);
    expect(cells[0]!.numFmt).toBe("0");
    const numbers = await cellsOf({
      type: "number",
      values: literals(["-0.25", "1e-7", "NaN", "-Infinity"], "float8"),
    });
    expect(numbers.map(shown)).toEqual([-0.25, 1e-7, "NaN", "-Infinity"]);
    const json = await cellsOf({ type: "json", values: literals(['{"f": "=1+1"}'], "json") });
    expect(json.map(shown)).toEqual(['{"f": "=1+1"}']);
  });
});

describe("sheets", () => {
  const numbers = (count: number) => `SELECT n, n * n FROM generate_series(0, ${count - 1}) n`;

  test("have a bold, frozen header with filters, and go on with a further one when full", async () => {
    for (const [rows, sizes] of [
      [7, [3, 3, 1]],
      [6, [3, 3]],
      [1, [1]],
    ] as const) {
      const bytes = await workbookOf({ type: "integer", values: numbers(rows), maxSheetRows: 4 });
      const { worksheets } = await read(bytes);
      expect(worksheets.map((sheet) => sheet.rowCount - 1)).toEqual(sizes);
      expect(worksheets.map((sheet) => sheet.name)).toEqual(
        ["Messages", "Messages 2", "Messages 3"].slice(0, sizes.length),
      );
      for (const sheet of worksheets) {
        expect([shown(sheet.getCell(1, 1)), sheet.getCell(1, 1).font?.bold]).toEqual(["n", true]);
        expect(sheet.getCell(2, 1).font?.bold ?? false).toBe(false);
        expect(sheet.views).toMatchObject([{ state: "frozen", ySplit: 1 }]);
        expect(sheet.autoFilter).toBe(`A1:B${sheet.rowCount}`);
      }
      expect(worksheets.flatMap((sheet) => sheet.getColumn(1).values.slice(2))).toEqual(
        Array.from({ length: rows }, (_, i) => i),
      );
    }
  });

  test("may be empty", async () => {
    const { worksheets } = await read(await workbookOf({ type: "integer", values: numbers(0) }));
    expect(worksheets.map((sheet) => sheet.rowCount)).toEqual([1]);
  });

  test("the same rows give the same bytes, whatever the zone of the machine", async () => {
    const asked = { type: "integer", values: numbers(5_000) } as const;
    const first = await workbookOf(asked);
    const zone = process.env.TZ;
    process.env.TZ = "Pacific/Auckland";
    try {
      expect((await workbookOf(asked)).equals(first)).toBe(true);
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });
});

describe("streaming", () => {
  const options = {
    sheetName: "s",
    columns: [{ name: "n", type: "integer" as const }],
    createdAt,
    timeZone: "UTC",
  };

  test("takes no more than somebody reads, and stops when nobody does", async () => {
    const state = { taken: 0, ended: false };
    async function* lines() {
      try {
        yield BEGIN;
        for (; state.taken < 20_000; state.taken++)
          yield Buffer.concat(Array.from({ length: 200 }, () => binaryRow([randomBytes(8)])));
      } finally {
        state.ended = true;
      }
    }
    const source = Readable.from(lines());
    const { bytes, rows } = sheetWorkbook(source, options);
    await once(bytes, "readable");
    for (let turn = 0, before = -1; turn < 50 && before !== state.taken; turn++) {
      before = state.taken;
      for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    }
    expect(state.taken).toBeGreaterThan(0);
    expect(state.taken).toBeLessThan(2_000);
    expect(rows()).toBeLessThanOrEqual(state.taken * 200);
    bytes.destroy();
    source.destroy();
    await once(bytes, "close");
    for (let i = 0; i < 100 && !state.ended; i++) await new Promise(setImmediate);
    expect(state.ended).toBe(true);
  });

  test("fails with the error of its source, also within a row", async () => {
    async function* lines() {
      yield BEGIN;
      yield binaryRow([int8(1)]).subarray(0, -1);
      throw new Error("connection lost");
    }
    await expect(buffer(sheetWorkbook(lines(), options).bytes)).rejects.toThrow("connection lost");
  });
});
