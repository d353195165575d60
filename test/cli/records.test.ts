import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { countRecords, type Format } from "../../src/cli/demo/records.js";
import { writeXlsx } from "../../src/exports/xlsx.js";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "records-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function counted(format: Format, content: string | Uint8Array): Promise<number> {
  const file = join(directory, `file.${format}`);
  await writeFile(file, content);
  return countRecords(file, format);
}

it("counts the records of a file, not its lines and headers", async () => {
  expect(await counted("csv", 'a,b\r\n1,"two\r\nlines"\r\n3,"a ""quote"""\r\n')).toBe(2);
  expect(await counted("csv", "a,b\r\n")).toBe(0);
  expect(await counted("json", '[{"a":"]"},\n{"a":2}]')).toBe(2);
  expect(await counted("ndjson", '{"a":"\\n"}\n{"a":2}\n{}\n')).toBe(3);
});

it("counts the rows of every data sheet below its header", async () => {
  const sheet = (name: string, header: string) => ({
    name,
    columns: [{ name: header, type: "text" as const }],
    rows: [["1"], ["2"]],
  });
  const sheets = [sheet("one", "a"), sheet("two", "b"), sheet("about", "property")];
  const bytes = writeXlsx({ sheets, createdAt: new Date() });
  expect(await counted("xlsx", await buffer(bytes))).toBe(4);
});

it("does not count what it cannot read", async () => {
  await expect(counted("ndjson", '{"a":1}\n{"a":')).rejects.toThrow(SyntaxError);
  await expect(counted("json", '[{"a":1}')).rejects.toThrow(SyntaxError);
});
