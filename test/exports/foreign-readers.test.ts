import { pipeline } from "node:stream/promises";
import * as xlsx from "@e965/xlsx";
import { parse } from "csv-parse/sync";
import { from as copyFrom } from "pg-copy-streams";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CsvOptions } from "../../src/exports/csv.js";
import { corpus, fileColumns, type MessageFiles, openMessageFiles, range } from "../support/message-files.js";
import { dangerous, withoutGuard } from "./injection-corpus.js";
import { readZip } from "./zip.js";

const names = Object.keys(fileColumns);
const ZONE = "Asia/Kathmandu";

let files: MessageFiles;
beforeAll(async () => {
  files = await openMessageFiles();
});
afterAll(() => files[Symbol.asyncDispose]());

/** The truth as the text formats write it, ordered as files are. */
async function expectedRows(): Promise<Record<string, string | null>[]> {
  const fields = Object.entries(fileColumns).map(([name, type]) =>
    type === "text"
      ? name
      : `to_char(${name} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as ${name}`,
  );
  const { rows } = await files.pool.query(
    `select ${fields.join(", ")} from (${files.truth}) t order by queued_at`,
  );
  expect(rows).toHaveLength(corpus.length);
  return rows;
}

type Asked = Partial<CsvOptions>;
const stream = (format: string, csv: Asked = {}) =>
  files.get("/analytics/export", {
    ...{ account_id: "shop", dataset: "messages", format, ...range },
    ...Object.fromEntries(Object.entries(csv).map(([name, value]) => [`csv[${name}]`, String(value)])),
  });
const csvPaths: [string, (csv: Asked) => Promise<Buffer>][] = [
  ["a report", (csv) => files.report({ format: "csv", csv })],
  ["an export", (csv) => files.export({ format: "csv", csv })],
  ["the stream", (csv) => stream("csv", csv)],
];
const variants: Asked[] = [
  {},
  { delimiter: ";", bom: true },
  { delimiter: "\t", null: "\\N" },
  { delimiter: "|", header: false, null: "NULL" },
];
const everyCsv = csvPaths.flatMap(([path, fetch]) =>
  variants.map((asked) => [path, JSON.stringify(asked), fetch, asked] as const),
);

/** Reads with csv-parse, which says what was quoted: an unquoted NULL marker is NULL. */
function readCsv(bytes: Buffer, { delimiter = ",", null: nullText = "", bom = false, header = true }: Asked) {
  expect(bytes.subarray(0, 3).equals(Buffer.from("\ufeff"))).toBe(bom);
  const rows = parse(bytes, {
    ...{ delimiter, bom, record_delimiter: "\r\n" },
    cast: (value, { quoting }) => (!quoting && value === nullText ? null : value),
  }) as unknown as (string | null)[][];
  if (header) expect(rows.shift()).toEqual(names);
  return rows.map((row) => Object.fromEntries(row.map((value, i) => [names[i]!, value])));
}

describe("CSV", () => {
  it.each(everyCsv)(
    "F32: %s with %s is text to csv-parse, and the guard can be undone",
    async (...[, , fetch, asked]) => {
      const cells = readCsv(await fetch(asked), asked);
      const guarded = cells.flatMap((row) => Object.values(row)).filter((cell) => cell?.startsWith("'"));
      expect(guarded).toEqual(expect.arrayContaining(dangerous.map((text) => `'${text}`)));
      for (const cell of cells.flatMap((row) => Object.values(row)))
        expect(cell ?? "").not.toMatch(/^[\s\u200b-\u200d\u2060]*[=+\-@＝＋－＠]|^[\t\r\n]/u);
      const undone = cells.map((row) =>
        Object.fromEntries(
          Object.entries(row).map(([name, cell]) => [name, cell === null ? null : withoutGuard(cell)]),
        ),
      );
      expect(undone).toEqual(await expectedRows());
    },
  );

  it.each(everyCsv)(
    "%s with %s and no guard loads into Postgres by COPY: the same rows",
    async (...[, , fetch, asked]) => {
      const bytes = await fetch({ ...asked, formula_guard: false });
      const options = `format csv, delimiter '${asked.delimiter ?? ","}', null '${asked.null ?? ""}', header ${asked.header ?? true}`;
      expect(await differences((load) => load(bytes, "loaded", options))).toEqual([]);
    },
  );
});

/** Rows that only the file or only the database has, after `load` has filled a table `loaded` like the file. */
async function differences(
  load: (copy: (bytes: Buffer, table: string, options: string) => Promise<void>) => Promise<void>,
): Promise<unknown[]> {
  const client = await files.pool.connect();
  const columns = Object.entries(fileColumns).map(([name, type]) => `${name} ${type}`);
  try {
    await client.query(`begin; create temp table loaded (${columns}); create temp table lines (line json)`);
    await load((bytes, table, options) =>
      pipeline([bytes], client.query(copyFrom(`copy ${table} from stdin (${options}, encoding 'UTF8')`))),
    );
    await client.query(`insert into loaded select r.* from lines, json_to_record(line) r(${columns})`);
    const { rows } = await client.query(
      `(table loaded except all (${files.truth})) union all ((${files.truth}) except all table loaded)`,
    );
    return rows;
  } finally {
    await client.query("rollback");
    client.release();
  }
}

describe("JSON", () => {
  /** One object a line, for a COPY that finds nothing to unquote. */
  const LINES = String.raw`format csv, quote e'\x01', delimiter e'\x02'`;
  const ndjson: [string, () => Promise<Buffer>][] = [
    ["a report", () => files.report({ format: "ndjson" })],
    ["an export", () => files.export({ format: "ndjson" })],
    ["the stream", () => stream("ndjson")],
  ];

  it.each(ndjson)("F32: %s as NDJSON is exact to JSON.parse and to Postgres", async (_, fetch) => {
    const bytes = await fetch();
    const lines = bytes.toString().trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(await expectedRows());
    expect(await differences((load) => load(bytes, "lines", LINES))).toEqual([]);
  });

  it.each([false, true])("F32: a report as JSON is exact, pretty: %s", async (pretty) => {
    const text = (await files.report({ format: "json", json: { pretty } })).toString();
    const parsed = JSON.parse(text);
    const rows = pretty ? parsed.messages : parsed;
    expect(rows).toEqual(await expectedRows());
    const { rows: read } = await files.pool.query(
      `select element->>'contact_id' as contact from json_array_elements($1::json${pretty ? "->'messages'" : ""}) element`,
      [text],
    );
    expect(read.map((row) => row.contact)).toEqual(corpus);
  });
});

/** What must not be in a workbook: formulas, links, anything that reaches outside. */
function expectHarmless(bytes: Buffer): void {
  for (const { name, text } of readZip(bytes)) {
    expect(name).not.toMatch(/external|hyperlink|connections|vba|sheet\d+\.xml\.rels/i);
    expect(text).not.toMatch(/<f[ >/]|<hyperlink|TargetMode="External"|<ddeLink/);
  }
}

/** SheetJS joins CR LF into LF. */
const asSheetJs = (text: string) => text.replaceAll("\r\n", "\n").replaceAll("\r", "\n");

describe("XLSX", () => {
  it("F32: a report is text, dates of its zone and nothing that runs, to SheetJS", async () => {
    const bytes = await files.report({ format: "xlsx", time_zone: ZONE });
    expectHarmless(bytes);
    const book = xlsx.read(bytes, { cellFormula: true, cellNF: true });
    expect(book.SheetNames).toEqual(["messages"]);
    expect(book.Props).toMatchObject({ Title: "message-log", Comments: expect.stringContaining(ZONE) });
    const sheet = book.Sheets.messages!;
    const xml = readZip(bytes).find(({ name }) => name.endsWith("sheet1.xml"))!.text;
    expect(xml).toMatch(/<pane [^>]*ySplit="1" topLeftCell="A2" [^>]*state="frozen"/);
    expect(sheet["!autofilter"]).toEqual({ ref: `A1:T${corpus.length + 1}` });
    const filtered = `'messages'!$A$1:$T$${corpus.length + 1}`;
    expect(book.Workbook?.Names).toEqual([
      { Name: "_xlnm._FilterDatabase", Sheet: 0, Ref: filtered, Hidden: true },
    ]);
    const cell = (row: number, column: number) =>
      sheet[xlsx.utils.encode_cell({ r: row, c: column })] as xlsx.CellObject | undefined;
    const types = Object.values(fileColumns);
    names.forEach((name, column) => {
      expect(cell(0, column)!.v).toBe(types[column] === "text" ? name : `${name} (${ZONE})`);
    });
    // Postgres has zone tables of its own: its wall time is the judge of ours.
    const { rows } = await files.pool.query(
      `select ${Object.entries(fileColumns).map(([name, type]) =>
        type === "text"
          ? name
          : `(extract(epoch from ${name} at time zone '${ZONE}') * 1000)::float8 as ${name}`,
      )} from (${files.truth}) t order by t.queued_at`,
    );
    rows.forEach((expected, index) => {
      names.forEach((name, column) => {
        const found = cell(index + 1, column);
        expect([found?.f, found?.l]).toEqual([undefined, undefined]);
        if (expected[name] === null) expect(found).toBeUndefined();
        else if (types[column] === "text")
          expect([found!.t, asSheetJs(String(found!.v))]).toEqual(["s", asSheetJs(expected[name])]);
        else {
          expect([found!.t, found!.z]).toEqual(["n", "yyyy-mm-dd hh:mm:ss"]);
          expect(Math.round(((found!.v as number) - 25_569) * 86_400_000)).toBe(expected[name]);
        }
      });
    });
  });
});

describe("a summary by template", () => {
  const ask = { template: "delivery-summary", group_by: ["template"], interval: "day" };
  const templates = (rows: { dimension: string | null; value_of: string | null }[]) => [
    ...new Set(rows.filter((row) => row.dimension === "template").map((row) => row.value_of)),
  ];
  const sorted = [...corpus].sort();

  it("F32: metrics and JSON say the templates as they are", async () => {
    const metrics = await files.get("/analytics/metrics", {
      ...{ account_id: "shop", group_by: "template", interval: "all", metrics: "messages_sent", ...range },
    });
    const rows = (JSON.parse(metrics.toString()).rows ?? []) as { template: string }[];
    expect(rows.map((row) => row.template).sort()).toEqual(sorted);
    expect(templates(JSON.parse((await files.report({ ...ask, format: "json" })).toString())).sort()).toEqual(
      sorted,
    );
    const lines = (await files.report({ ...ask, format: "ndjson" })).toString().trimEnd().split("\n");
    expect(templates(lines.map((line) => JSON.parse(line))).sort()).toEqual(sorted);
  });

  it.each(variants)("F32: CSV with %j neutralises them and no number", async (csv) => {
    const { delimiter = ",", bom = false, null: nullText = "", header = true } = csv;
    const text = await files.report({ ...ask, format: "csv", csv });
    const rows = parse(text, {
      ...{ delimiter, bom, record_delimiter: "\r\n" },
      cast: (value, { quoting }) => (!quoting && value === nullText ? null : value),
    }) as unknown as (string | null)[][];
    if (header) rows.shift();
    const values = [...new Set(rows.filter((row) => row[2] === "template").map((row) => row[3]!))];
    expect(values.map(withoutGuard).sort()).toEqual(sorted);
    for (const value of values) expect(value).not.toMatch(/^[\s\u200b-\u200d]*[=+\-@＝＋－＠]|^[\t\r\n]/u);
    for (const row of rows) expect(row[5] ?? "0").toMatch(/^-?\d+(\.\d+)?(e-?\d+)?$/);
  });

  it("F32: a workbook holds them as text beside numbers with units", async () => {
    const bytes = await files.report({ ...ask, format: "xlsx" });
    expectHarmless(bytes);
    const book = xlsx.read(bytes, { cellFormula: true, cellNF: true });
    expect(book.SheetNames.slice(0, 3)).toEqual(["Summary", "by day", "by template"]);
    expect(book.SheetNames.at(-1)).toBe("about");
    const table = book.Sheets["by template"]!;
    const column = (letter: string) => corpus.map((_, i) => table[`${letter}${i + 2}`] as xlsx.CellObject);
    expect(column("A").map((cell) => cell.t)).toEqual(corpus.map(() => "s"));
    expect(
      column("A")
        .map((cell) => asSheetJs(String(cell.v)))
        .sort(),
    ).toEqual(corpus.map(asSheetJs).sort());
    expect(new Set(column("B").map((cell) => [cell.t, cell.z].join()))).toEqual(new Set(["n,#,##0"]));
    const unit = (metric: string) =>
      xlsx.utils
        .sheet_to_json<string[]>(book.Sheets.Summary!, { header: 1 })
        .find(([name]) => name === metric)?.[2];
    expect([unit("messages_sent"), unit("read_rate"), unit("time_to_send_p50")]).toEqual([
      ...["messages", "ratio", "seconds"],
    ]);
  });
});
