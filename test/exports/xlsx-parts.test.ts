import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import * as xlsx from "@e965/xlsx";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import yauzl from "yauzl";
import { combinedCrc32 } from "../../src/exports/crc32.js";
import type { Segment } from "../../src/exports/file-parts.js";
import { sheetPart, sheetWorkbook, workbookFile } from "../../src/exports/xlsx-workbook.js";
import { binaryRows, int8 } from "./binary-rows.js";
import { chunked } from "./chunked.js";
import { readZip } from "./zip.js";

const options = {
  sheetName: "messages",
  columns: [
    { name: "n", type: "integer" as const },
    { name: "text", type: "text" as const },
  ],
  createdAt: new Date("2026-03-04T05:06:08Z"),
  timeZone: "UTC",
};

type Row = readonly [n: number, text: string | null];

const sourceOf = (rows: readonly Row[], lengths: readonly number[] = []) =>
  Readable.from(
    chunked(
      binaryRows(rows.map(([n, text]) => [int8(n), text === null ? null : Buffer.from(text)])),
      lengths,
    ),
  );

/** A part as a store would keep it, and what a database would of its detail. */
async function stored(rows: readonly Row[], lengths: readonly number[] = []) {
  const part = sheetPart(sourceOf(rows, lengths), options);
  const content = await buffer(part.bytes);
  const detail: ReturnType<typeof part.detail> = JSON.parse(JSON.stringify(part.detail()));
  return { content, rows: part.rows(), bytes: content.length, detail };
}

const joined = (segments: readonly Segment[], contents: readonly Buffer[]) =>
  Buffer.concat(segments.map((one) => ("inline" in one ? one.inline : contents[one.part]!)));

async function workbookOf(parts: readonly (readonly Row[])[]): Promise<Buffer> {
  const all = await Promise.all(parts.map((rows) => stored(rows)));
  return joined(
    workbookFile(all, options),
    all.map(({ content }) => content),
  );
}

const sheetsOf = (bytes: Buffer) => {
  const book = xlsx.read(bytes);
  return book.SheetNames.map((name) => {
    const [head, ...rows] = xlsx.utils.sheet_to_json<unknown[]>(book.Sheets[name]!, {
      header: 1,
      defval: null,
    });
    expect(head).toEqual(["n", "text"]);
    return rows;
  });
};

const text = fc
  .array(fc.constantFrom("a", "_x0041_", "<", "&", " ", "é", "😀"), { minLength: 1, maxLength: 5 })
  .map((all) => all.join(""));
const row = fc.tuple(fc.integer(), fc.option(text));
const partsOfRows = fc.array(fc.array(row, { maxLength: 4 }), { maxLength: 8 });

describe("a workbook of parts", () => {
  test("has a sheet for each of them, with its rows in their order", async () => {
    await fc.assert(
      fc.asyncProperty(partsOfRows, async (parts) => {
        const bytes = await workbookOf(parts);
        readZip(bytes);
        expect(sheetsOf(bytes)).toEqual(parts.length === 0 ? [[]] : parts);
      }),
    );
  });

  test("of one part is the streamed one, wherever the chunks of the rows end", async () => {
    const cuts = fc.array(fc.nat(60), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 30 }), cuts, cuts, async (rows, lengths, others) => {
        const part = await stored(rows, lengths);
        const streamed = sheetWorkbook(sourceOf(rows, others), options);
        expect(
          (await buffer(streamed.bytes)).equals(joined(workbookFile([part], options), [part.content])),
        ).toBe(true);
        expect([streamed.rows(), part.rows]).toEqual([rows.length, rows.length]);
      }),
    );
  });

  test("may have no part", async () => {
    expect(sheetsOf(await workbookOf([]))).toEqual([[]]);
  });

  test("takes no part that is longer than a sheet", async () => {
    const part = await stored([
      [1, "a"],
      [2, "b"],
    ]);
    expect(() => workbookFile([part], { ...options, maxSheetRows: 2 })).toThrow("more than a sheet holds");
  });

  test("fails with the error of its rows", async () => {
    const broken = Readable.from([binaryRows([[int8(1), null]]).subarray(0, -3)]);
    await expect(buffer(sheetPart(broken, options).bytes)).rejects.toThrow("broke off");
  });
});

/** Bytes that are there when somebody reads them: a file of gigabytes made of one part again and again. */
class Segments extends yauzl.RandomAccessReader {
  private readonly segments: readonly Segment[];
  private readonly partBytes: number;
  constructor(segments: readonly Segment[], partBytes: number) {
    super();
    this.segments = segments;
    this.partBytes = partBytes;
  }
  get length() {
    return this.segments.reduce((sum, one) => sum + this.lengthOf(one), 0);
  }
  override _readStreamForRange(start: number, end: number) {
    const found: Buffer[] = [];
    let at = 0;
    for (const one of this.segments) {
      const [from, to] = [Math.max(start - at, 0), Math.min(end - at, this.lengthOf(one))];
      if (from < to) found.push("inline" in one ? one.inline.subarray(from, to) : Buffer.alloc(to - from));
      at += this.lengthOf(one);
    }
    return Readable.from([Buffer.concat(found)]);
  }
  private lengthOf = (one: Segment) => ("inline" in one ? one.inline.length : this.partBytes);
}

async function directoryOf(segments: readonly Segment[], partBytes: number) {
  const reader = new Segments(segments, partBytes);
  const open = promisify<yauzl.RandomAccessReader, number, yauzl.Options, yauzl.ZipFile>(
    yauzl.fromRandomAccessReader,
  );
  const zip = await open(reader, reader.length, { lazyEntries: true, autoClose: false });
  const entries: yauzl.Entry[] = [];
  for await (const entry of zip.eachEntry()) entries.push(entry);
  return entries;
}

test("a workbook of more than four gigabytes has 64-bit numbers where they are needed", async () => {
  const GIGABYTE = 2 ** 30;
  for (const [bytes, plain_bytes] of [
    [3 * GIGABYTE, 9 * GIGABYTE],
    [1000, 9 * GIGABYTE],
    [1000, 5000],
  ] as const) {
    const detail = { crc32: 1, plain_bytes };
    const parts = Array.from({ length: 4 }, () => ({ rows: 3, bytes, detail }));
    const segments = workbookFile(parts, options);
    const entries = await directoryOf(segments, bytes);
    const sheets = [1, 2, 3, 4].map((number) => `xl/worksheets/sheet${number}.xml`);
    expect(entries.slice(0, 4).map((entry) => entry.fileName)).toEqual(sheets);
    expect(entries).toHaveLength(10);
    for (const { compressedSize, uncompressedSize } of entries.slice(0, 4)) {
      expect(Math.floor(compressedSize / bytes)).toBe(1);
      expect(Math.floor(uncompressedSize / plain_bytes)).toBe(1);
    }
    const isLarge = (entry: yauzl.Entry) => entry.extraFields.some(({ id }) => id === 1);
    expect(entries.map(isLarge)).toEqual(
      plain_bytes < GIGABYTE ? entries.map(() => false) : entries.map((_, i) => i < 4 || bytes > GIGABYTE),
    );
  }
});

test("checksums of pieces add up to that of the whole", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (first, second) => {
      expect(combinedCrc32(crc32(first), crc32(second), second.length)).toBe(
        crc32(Buffer.concat([first, second])),
      );
    }),
  );
  const zeros = Buffer.alloc(100_000_000);
  expect(combinedCrc32(crc32("a"), crc32(zeros), zeros.length)).toBe(crc32(zeros, crc32("a")));
});
