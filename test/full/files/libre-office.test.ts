import { parse } from "csv-parse/sync";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CsvOptions } from "../../../src/exports/csv.js";
import { withoutGuard } from "../../exports/injection-corpus.js";
import { corpus, fileColumns, type MessageFiles, openMessageFiles } from "../../support/message-files.js";
import { convert, hasLibreOffice, type OfficeCell, readFods } from "./libre-office.js";

const names = Object.keys(fileColumns);
const types = Object.values(fileColumns);
const ZONE = "Europe/Berlin";

let files: MessageFiles;
beforeAll(async () => {
  files = await openMessageFiles();
});
afterAll(() => files[Symbol.asyncDispose]());

/** Wall times of the zone without the zeros that LibreOffice leaves out, by Postgres' tables of zones. */
async function expectedRows(): Promise<(string | null)[][]> {
  const fields = Object.entries(fileColumns).map(([name, type]) =>
    type === "text"
      ? name
      : `to_char(${name} at time zone '${ZONE}', 'YYYY-MM-DD"T"HH24:MI:SS.MS') as ${name}`,
  );
  const { rows } = await files.pool.query<Record<string, string | null>>(
    `select ${fields.join(", ")} from (${files.truth}) t order by t.queued_at`,
  );
  return rows.map((row) => names.map((name) => row[name]!));
}

/** LibreOffice ends lines with LF, has no place for control characters, and shows the escape of DEL. */
const asOffice = (text: string) =>
  text
    .replace(/\r\n?/g, "\n")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it drops
    .replace(/[\u0001-\u0008\u000b\u000c\u000e-\u001f]/g, "")
    .replaceAll("\u007f", "_x007F_");
const milliseconds = (time: string) => Math.round(Date.parse(`${time}Z`));

describe.runIf(hasLibreOffice)("LibreOffice", () => {
  it("F32: shows a message log as text and dates, with filters and without a formula", async () => {
    const bytes = await files.report({ format: "xlsx", time_zone: ZONE });
    const xml = (await convert(bytes, { extension: "xlsx", to: "fods" })).get("in.fods")!;
    const [head, ...rows] = readFods(xml).get("messages")!;
    expect(head!.map((cell) => cell.value)).toEqual(
      names.map((name, i) => (types[i] === "text" ? name : `${name} (${ZONE})`)),
    );
    const expected = await expectedRows();
    expect(rows.filter((row) => row.length > 0)).toHaveLength(expected.length);
    expected.forEach((values, index) => {
      values.forEach((value, column) => {
        const cell: OfficeCell | undefined = rows[index]![column];
        expect(cell?.formula).toBeUndefined();
        if (value === null) expect(cell?.type).toBeUndefined();
        else if (types[column] === "text")
          expect([cell!.type, asOffice(cell!.value)]).toEqual(["string", asOffice(value)]);
        else {
          expect(cell!.type).toBe("date");
          // It saves hundredths of a second.
          expect(Math.abs(milliseconds(cell!.value) - milliseconds(value))).toBeLessThanOrEqual(5);
          expect(cell!.shown).toMatch(/^2026-\d\d-\d\d \d\d:\d\d:\d\d$/);
        }
      });
    });
    expect(xml).toMatch(/<table:database-range [^>]*table:display-filter-buttons="true"/);
    expect(xml).toContain("<dc:title>message-log</dc:title>");
    expect(xml).not.toMatch(
      /xlink:href="(?!http:\/\/openoffice|#)[^"]*example|<table:dde-link|table:formula=/,
    );
  });

  it("F32: saves each sheet of a summary as CSV with the numbers of the JSON", async () => {
    const ask = { template: "delivery-summary", group_by: ["template"], interval: "day", time_zone: ZONE };
    const flat = JSON.parse((await files.report({ ...ask, format: "json" })).toString()) as {
      section: string;
      value_of: string | null;
      metric: string;
      value: number | null;
    }[];
    // Comma, quotes, UTF-8, cells as they are stored and not as they are shown, every sheet in a file of its own.
    const saved = await convert(await files.report({ ...ask, format: "xlsx" }), {
      extension: "xlsx",
      to: "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1",
    });
    const table = (sheet: string) => parse(saved.get(`in-${sheet}.csv`)!, { bom: true }) as string[][];
    const [, ...totals] = table("Summary");
    const numbers = (rows: { value: number | null }[]) => rows.map(({ value }) => value);
    const read = (cell: string) =>
      cell === "" ? null : cell.endsWith("%") ? Number(cell.slice(0, -1)) / 100 : Number(cell);
    expect(totals.map(([metric]) => metric)).toEqual(
      flat.filter((row) => row.section === "totals").map((row) => row.metric),
    );
    expectClose(
      totals.map((row) => read(row[1]!)),
      numbers(flat.filter((row) => row.section === "totals")),
    );
    const byTemplate = flat.filter((row) => row.section === "by_template");
    const [head, ...rows] = table("by template");
    expect(rows.map((row) => asOffice(row[0]!))).toEqual(
      [...new Set(byTemplate.map((row) => row.value_of!))].map(asOffice),
    );
    expect(head).toHaveLength(byTemplate.length / corpus.length + 1);
    expectClose(
      rows.flatMap((row) => row.slice(1).map((cell) => read(cell))),
      numbers(byTemplate),
    );
  });

  const opened: [string, Partial<CsvOptions>][] = [
    ["44", {}],
    ["59", { delimiter: ";", bom: true }],
    ["9", { delimiter: "\t" }],
    ["124", { delimiter: "|" }],
  ];
  it.each(opened)("F32: opens CSV separated by character %s without running a cell", async (code, csv) => {
    const read = async (options: Partial<CsvOptions>) => {
      const bytes = await files.report({ format: "csv", csv: options });
      // UTF-8, columns of the standard type, and (the last word) text that looks like a formula is one.
      const infilter = `Text - txt - csv (StarCalc):${code},34,76,1,,0,false,true,false,false,false,0,true`;
      const saved = await convert(bytes, { extension: "csv", to: "fods", infilter });
      return [...readFods(saved.get("in.fods")!).values()][0]!.slice(1, corpus.length + 1);
    };
    const rows = await read(csv);
    for (const row of rows) for (const cell of row) expect(cell.formula).toBeUndefined();
    const contacts = rows.map((row) => row[names.indexOf("contact_id")]!);
    const neutral = contacts.filter((cell) => cell.shown.startsWith("'"));
    expect(neutral.every((cell) => cell.type === "string")).toBe(true);
    expect(neutral.map((cell) => withoutGuard(cell.shown))).toContain("=1+1");
    // The reader is a fair judge only if it runs what nobody guards.
    const unguarded = await read({ ...csv, formula_guard: false });
    expect(unguarded.flat().some((cell) => cell.formula !== undefined)).toBe(true);
  });
});

/** A sheet keeps 15 digits. */
function expectClose(found: (number | null)[], expected: (number | null)[]): void {
  expect(found).toHaveLength(expected.length);
  found.forEach((value, i) => {
    if (value === null || expected[i] === null) expect(value).toBe(expected[i]);
    else expect(value).toBeCloseTo(expected[i]!, 9);
  });
}
