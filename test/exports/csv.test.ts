import fc from "fast-check";
import papaparse from "papaparse";
import { describe, expect, test } from "vitest";
import { type CsvOptions, csvDelimiters, csvHead, csvLine, defaultCsv } from "../../src/exports/csv.js";
import { dangerous, harmless, withoutGuard } from "./injection-corpus.js";

const parse = (text: string): string[][] => {
  const { data, errors } = papaparse.parse<string[]>(text, { delimiter: ",", newline: "\r\n" });
  // The last line end leaves one empty line behind it; a table of one empty cell has no delimiter to guess from.
  expect(errors.filter((error) => error.type !== "Delimiter")).toEqual([]);
  expect(data.pop()).toEqual([""]);
  return data;
};
const line = (...values: string[]): string => csvLine(values, Array(values.length).fill("text"));

describe("csvLine", () => {
  test.each(dangerous)("neutralises %j", (value) => {
    expect(parse(line("before", value, "after"))).toEqual([["before", `'${value}`, "after"]]);
  });

  test.each(harmless)("leaves %j as it is", (value) => {
    expect(parse(line("before", value, "after"))).toEqual([["before", value, "after"]]);
  });

  test("leaves numbers, times and JSON alone, and neutralises text that only claims to be a number", () => {
    const types = ["number", "integer", "number", "timestamp", "json", "integer"] as const;
    const values = [
      -1.5,
      "-9007199254740993",
      "-1.5e-7",
      "2026-01-02T03:04:05.678Z",
      '{"a":"=1"}',
      "-1+cmd|x",
    ];
    expect(parse(csvLine(values, types))).toEqual([
      ["-1.5", "-9007199254740993", "-1.5e-7", "2026-01-02T03:04:05.678Z", '{"a":"=1"}', "'-1+cmd|x"],
    ]);
  });

  test("tells null from the empty string, and has no word for NaN", () => {
    expect(csvLine([null, "", Number.NaN, 0], ["text", "text", "number", "number"])).toBe(',"",,0\r\n');
  });

  test("survives a round trip through another parser, whatever the text", () => {
    const row = fc.array(fc.string({ unit: "binary" }), { minLength: 1, maxLength: 5 });
    const table = fc.array(row, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(table, (rows) => {
        // A header first, as in a real file: parsers take a U+FEFF at the very start for a byte order mark.
        const [, ...parsed] = parse(csvHead([{ name: "h" }]) + rows.map((row) => line(...row)).join(""));
        expect(parsed.map((row) => row.map(withoutGuard))).toEqual(rows);
        for (const cell of parsed.flat()) expect(cell).not.toMatch(/^[\t\r\n]|^\s*[=+\-@＝＋－＠]/);
      }),
    );
  });
});

describe("options", () => {
  const written = (values: (string | number | null)[], options: Partial<CsvOptions>) =>
    csvLine(values, Array(values.length).fill("text"), { ...defaultCsv, ...options });

  test.each(csvDelimiters)("%j separates, and is quoted where it is text", (delimiter) => {
    const texts = [...dangerous, ...harmless, ...csvDelimiters.map((one) => `a${one}=1`)];
    const { data, errors } = papaparse.parse<string[]>(written(texts, { delimiter }), {
      delimiter,
      newline: "\r\n",
    });
    expect(errors).toEqual([]);
    expect(data[0]).toEqual(texts.map((text) => (dangerous.includes(text) ? `'${text}` : text)));
    expect(data[0]!.map(withoutGuard)).toEqual(texts);
  });

  test("tell NULL from a text that reads the same", () => {
    expect(written([null, "", "\\N", "NULL"], { null: "\\N" })).toBe('\\N,,"\\N",NULL\r\n');
    expect(written([null, "", "\\N", "NULL"], { null: "NULL" })).toBe('NULL,,\\N,"NULL"\r\n');
  });

  test("leave every text alone without the guard", () => {
    for (const text of dangerous)
      expect(parse(written(["before", text], { formula_guard: false }))).toEqual([["before", text]]);
  });

  test("want a byte order mark and a header, or neither", () => {
    const head = (options: Partial<CsvOptions>) =>
      csvHead([{ name: "a" }, { name: "b;c" }], { ...defaultCsv, ...options });
    expect(head({ bom: true, delimiter: ";" })).toBe('\ufeffa;"b;c"\r\n');
    expect(head({ bom: true, header: false })).toBe("\ufeff");
    expect(head({ header: false })).toBe("");
  });
});

test("csvHead quotes names as RFC 4180 asks", () => {
  expect(csvHead([{ name: "account_id" }, { name: 'a "b", c' }])).toBe('account_id,"a ""b"", c"\r\n');
});
