import { once } from "node:events";
import { buffer } from "node:stream/consumers";
import excel from "exceljs";
import { describe, expect, test } from "vitest";
import { writeXlsx, type XlsxColumn, type XlsxOptions } from "../../src/exports/xlsx.js";
import { dangerous, harmless } from "./injection-corpus.js";
import { readZip } from "./zip.js";

const createdAt = new Date("2026-03-04T05:06:08Z");

async function* iterate<T>(rows: Iterable<T>): AsyncGenerator<T> {
  yield* rows;
}

const workbookOf = (
  columns: XlsxColumn[],
  rows: Iterable<readonly unknown[]>,
  more: Partial<XlsxOptions> = {},
) => buffer(writeXlsx({ sheets: [{ name: "Messages", columns, rows: iterate(rows) }], createdAt, ...more }));

async function read(bytes: Buffer): Promise<excel.Workbook> {
  const workbook = new excel.Workbook();
  await workbook.xlsx.load(bytes as unknown as Parameters<typeof workbook.xlsx.load>[0]);
  return workbook;
}

async function column(type: XlsxColumn["type"], values: unknown[]): Promise<excel.Cell[]> {
  const bytes = await workbookOf(
    [
      { name: "id", type: "integer" },
      { name: "value", type },
    ],
    values.map((value, i) => [i, value]),
  );
  const sheet = (await read(bytes)).getWorksheet("Messages")!;
  return values.map((_, i) => sheet.getCell(i + 2, 2));
}

/** Of a text cell, which exceljs shows as rich text. */
const shown = (cell: excel.Cell): excel.CellValue =>
  cell.type === excel.ValueType.RichText ? cell.text : cell.value;

/** exceljs reads this back as `]]>&`: it decodes twice. What we wrote shows in the XML. */
const ENTITY = "]]>&amp;";

describe("cells", () => {
  test("text is text, whatever it looks like", async () => {
    const texts = [...dangerous, ...harmless].filter((text) => text !== "" && text !== ENTITY);
    const bytes = await workbookOf(
      [
        { name: "=name()", type: "text" },
        { name: "json", type: "json" },
      ],
      texts.map((text) => [text, { formula: text, hyperlink: text, text }]),
    );
    const sheet = (await read(bytes)).getWorksheet("Messages")!;
    expect(shown(sheet.getCell(1, 1))).toBe("=name()");
    texts.forEach((text, i) => {
      const [plain, json] = [sheet.getCell(i + 2, 1), sheet.getCell(i + 2, 2)];
      expect([plain.type, json.type]).toEqual([excel.ValueType.RichText, excel.ValueType.RichText]);
      expect(shown(plain)).toBe(text);
      expect(Object.keys(JSON.parse(shown(json) as string))).toEqual(["formula", "hyperlink", "text"]);
    });
    const entries = readZip(bytes);
    expect(
      entries
        .map((entry) => entry.name)
        .filter((name) => /external|hyperlink|sheet\d+\.xml\.rels/i.test(name)),
    ).toEqual([]);
    for (const entry of entries) expect(entry.text).not.toMatch(/<f[ >/]|<hyperlink|TargetMode="External"/);
    expect(entries.find((entry) => entry.name === "xl/worksheets/sheet1.xml")?.text).toContain(
      "&lt;f&gt;1+1&lt;/f&gt;",
    );
  });

  test("timestamps are dates, to the millisecond, and what is no date stays text", async () => {
    const cells = await column("timestamp", [
      new Date("2026-01-02T03:04:05.678Z"),
      "2026-01-02T03:04:05.678+02:00",
      Date.UTC(2026, 0, 2),
      "not a date",
      "2026-01-02T03:04:05",
      new Date("1800-01-01T00:00:00Z"),
      new Date(Number.NaN),
      null,
    ]);
    expect(
      cells.slice(0, 3).map((cell) => [cell.type, cell.numFmt, (cell.value as Date).toISOString()]),
    ).toEqual([
      [excel.ValueType.Date, "yyyy-mm-dd hh:mm:ss", "2026-01-02T03:04:05.678Z"],
      [excel.ValueType.Date, "yyyy-mm-dd hh:mm:ss", "2026-01-02T01:04:05.678Z"],
      [excel.ValueType.Date, "yyyy-mm-dd hh:mm:ss", "2026-01-02T00:00:00.000Z"],
    ]);
    expect(cells.slice(3).map((cell) => shown(cell) ?? null)).toEqual([
      "not a date",
      "2026-01-02T03:04:05",
      "1800-01-01T00:00:00.000Z",
      "",
      null,
    ]);
  });

  test("times are those of the zone's clocks, in summer, in winter and before 2000", async () => {
    const times = ["2026-07-01T22:30:00.250Z", "2026-01-31T23:30:00Z", "1999-06-01T00:00:00Z"];
    const bytes = await workbookOf(
      [{ name: "sent_at", type: "timestamp" }],
      times.map((time) => [time]),
      { timeZone: "Europe/Berlin", title: "message-log", description: "Account shop" },
    );
    const workbook = await read(bytes);
    const sheet = workbook.getWorksheet("Messages")!;
    expect(shown(sheet.getCell(1, 1))).toBe("sent_at (Europe/Berlin)");
    expect([2, 3, 4].map((row) => (sheet.getCell(row, 1).value as Date).toISOString())).toEqual([
      "2026-07-02T00:30:00.250Z",
      "2026-02-01T00:30:00.000Z",
      "1999-06-01T02:00:00.000Z",
    ]);
    expect([workbook.title, workbook.description]).toEqual(["message-log", "Account shop"]);
  });

  test("numbers stay numbers; what a double would round stays text", async () => {
    const values = [
      -1,
      "-49170",
      "1.25",
      9007199254740993n,
      "9007199254740993",
      "-1+cmd|x",
      "0x10",
      undefined,
      0,
    ];
    const cells = await column("integer", values);
    expect(cells.map((cell) => shown(cell) ?? null)).toEqual([
      -1,
      -49170,
      1.25,
      "9007199254740993",
      "9007199254740993",
      "-1+cmd|x",
      "0x10",
      null,
      0,
    ]);
    expect(cells[0]!.numFmt).toBe("0");
  });

  test("keep what XML forbids, but for half a surrogate pair", async () => {
    const cells = await column("text", [
      "a\0\u0001\u0008b\u000b\u000c\u001fc\ufffe\uffff",
      "\ud83d!",
      "👍\t\u2028é\n",
    ]);
    expect(cells.map(shown)).toEqual([
      "a\0\u0001\u0008b\u000b\u000c\u001fc\ufffe\uffff",
      "\ufffd!",
      "👍\t\u2028é\n",
    ]);
  });

  test("escapes text that looks like an entity", async () => {
    const sheet = readZip(await workbookOf([{ name: "value", type: "text" }], [[ENTITY]])).find(({ name }) =>
      name.endsWith("sheet1.xml"),
    );
    expect(sheet?.text).toContain("<is><r><t>]]&gt;&amp;amp;</t></r></is>");
  });

  test("cuts at 32,767 characters and never through a pair", async () => {
    const fits = "x".repeat(32_767);
    const [same, cut, pair] = (await column("text", [fits, `${fits}y`, "👍".repeat(20_000)])).map(shown);
    expect(same).toBe(fits);
    expect(cut).toBe(`${fits.slice(1)}…`);
    expect(pair).toBe(`${"👍".repeat(16_383)}…`);
  });
});

describe("sheets", () => {
  test("have a bold, frozen header with filters, and a width that fits", async () => {
    const columns: XlsxColumn[] = [
      { name: "sent_at", type: "timestamp" },
      { name: "narrow", type: "text", width: 5 },
      { name: "a rather long name for a column of numbers", type: "number" },
    ];
    const sheet = (await read(await workbookOf(columns, [[createdAt, "x", 1]]))).getWorksheet("Messages")!;
    expect([1, 2, 3].map((i) => shown(sheet.getCell(1, i)))).toEqual([
      "sent_at (UTC)",
      "narrow",
      "a rather long name for a column of numbers",
    ]);
    expect(sheet.autoFilter).toBe("A1:C2");
    expect([1, 2, 3].map((i) => sheet.getCell(1, i).font?.bold)).toEqual([true, true, true]);
    expect(sheet.getCell(2, 2).font?.bold ?? false).toBe(false);
    expect(sheet.views).toMatchObject([{ state: "frozen", ySplit: 1 }]);
    expect(sheet.columns.map((one) => one.width)).toEqual([20, 5, 45]);
  });

  test("take names that Excel accepts", async () => {
    const wanted = [
      "a/b:c*d?[e]",
      "'quoted'",
      "x".repeat(40),
      "X".repeat(40),
      "History",
      "",
      `${"y".repeat(30)}👍`,
    ];
    const sheets = wanted.map((name) => ({
      name,
      columns: [{ name: "n", type: "integer" as const }],
      rows: iterate([[1]]),
    }));
    const workbook = await read(await buffer(writeXlsx({ sheets, createdAt })));
    expect(workbook.worksheets.map((sheet) => sheet.name)).toEqual([
      "a b c d  e",
      "quoted",
      "x".repeat(31),
      `${"X".repeat(29)} 2`,
      "History 2",
      "Sheet",
      "y".repeat(30),
    ]);
  });

  test("may be empty", async () => {
    const workbook = await read(await workbookOf([{ name: "n", type: "integer" }], []));
    expect(workbook.worksheets[0]!.rowCount).toBe(1);
  });
});

test("the same input gives the same bytes: every time in the file is createdAt", async () => {
  const columns: XlsxColumn[] = [
    { name: "n", type: "integer" },
    { name: "t", type: "timestamp" },
  ];
  const rows = Array.from({ length: 3000 }, (_, i) => [i, new Date(createdAt.getTime() + i)]);
  const [first, second] = [await workbookOf(columns, rows), await workbookOf(columns, rows)];
  expect(first.equals(second)).toBe(true);
  const entries = readZip(first);
  expect(entries.length).toBeGreaterThan(7);
  for (const { times } of entries) expect(times).toEqual([createdAt.toISOString(), createdAt.toISOString()]);
  const core = entries.find((entry) => entry.name === "docProps/core.xml")!.text;
  expect(core.match(/\d{4}-\d\d-\d\dT[\d:.]+Z/g)).toEqual(["2026-03-04T05:06:08Z", "2026-03-04T05:06:08Z"]);
});

describe("streaming", () => {
  const columns: XlsxColumn[] = [{ name: "text", type: "text" }];

  function counted(total: number) {
    const state = { pulled: 0, ended: false };
    async function* rows() {
      try {
        for (; state.pulled < total; state.pulled++) yield [`${Math.random()}${Math.random()}`];
      } finally {
        state.ended = true;
      }
    }
    return { state, rows: rows() };
  }

  test("pulls no more rows than somebody reads, and stops when nobody does", async () => {
    const { state, rows } = counted(200_000);
    const output = writeXlsx({ sheets: [{ name: "s", columns, rows }], createdAt });
    await once(output, "readable");
    // Enough turns of the event loop for a writer that ignores backpressure to run to its end.
    for (let turn = 0, before = -1; turn < 5000 && before !== state.pulled; turn += 100) {
      before = state.pulled;
      for (let i = 0; i < 100; i++) await new Promise(setImmediate);
    }
    expect(state.pulled).toBeGreaterThan(0);
    expect(state.pulled).toBeLessThan(20_000);
    output.destroy();
    await once(output, "close");
    for (let i = 0; i < 100 && !state.ended; i++) await new Promise(setImmediate);
    expect(state).toMatchObject({ ended: true });
    expect(state.pulled).toBeLessThan(20_000);
  });

  test("fails with the error of its rows", async () => {
    async function* rows() {
      yield ["one"];
      throw new Error("connection lost");
    }
    await expect(
      buffer(writeXlsx({ sheets: [{ name: "s", columns, rows: rows() }], createdAt })),
    ).rejects.toThrow("connection lost");
  });

  test("may be given up before it began", async () => {
    const { state, rows } = counted(10);
    const output = writeXlsx({ sheets: [{ name: "s", columns, rows }], createdAt });
    output.destroy();
    await once(output, "close");
    expect(state.pulled).toBe(0);
  });
});

describe("a sheet for people", () => {
  test("has its title above a frozen header, and marks that Excel draws, without an extension", async () => {
    const bytes = await buffer(
      writeXlsx({
        createdAt: new Date("2026-01-01T00:00:00Z"),
        sheets: [
          {
            name: "one",
            columns: ["a", "b", "c"].map((name) => ({ name, type: "number" as const })),
            rows: [
              [1, 2, 3],
              [4, 5, 6],
            ],
            look: {
              lines: ["=Title", "what it is"],
              marks: [
                { kind: "bars", first: 0, last: 0 },
                { kind: "heat", first: 1, last: 2 },
              ],
            },
          },
        ],
      }),
    );
    const xml = readZip(bytes).find(({ name }) => name === "xl/worksheets/sheet1.xml")!.text;
    expect(xml).toMatch(/<pane [^>]*ySplit="3" topLeftCell="A4"/);
    expect(xml).toContain('<autoFilter ref="A3:C5"/>');
    expect(xml.match(/<conditionalFormatting.*<\/conditionalFormatting>/)![0]).toBe(
      '<conditionalFormatting sqref="A4:A5"><cfRule type="dataBar" priority="1"><dataBar><cfvo type="num" val="0"/>' +
        '<cfvo type="max"/><color rgb="FF3FA596"/></dataBar></cfRule></conditionalFormatting>' +
        '<conditionalFormatting sqref="B4:C5"><cfRule type="colorScale" priority="2"><colorScale><cfvo type="num" val="0"/>' +
        '<cfvo type="max"/><color rgb="FFFFFFFF"/><color rgb="FF3FA596"/></colorScale></cfRule></conditionalFormatting>',
    );
    expect(xml).not.toMatch(/extLst|<f[ >]/);
    expect(xml).toContain(">=Title<");
  });
});
