import { Readable } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type RowBatch, rowBatches } from "../../src/exports/binary-copy.js";
import { rowPages } from "../../src/exports/row-pages.js";
import { binaryRows } from "./binary-rows.js";
import { chunked } from "./chunked.js";

const COLUMNS = 3;
const field = fc.option(fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)));
const rows = fc.array(fc.array(field, { minLength: COLUMNS, maxLength: COLUMNS }), { maxLength: 20 });
const cuts = fc.array(fc.nat(40), { maxLength: 30 });

const hex = (fields: readonly (Buffer | null)[]) => fields.map((one) => one?.toString("hex") ?? null);

function fieldsOf({ bytes, starts, lengths }: RowBatch, row: number): (string | null)[] {
  return Array.from({ length: COLUMNS }, (_, column) => {
    const at = row * COLUMNS + column;
    if (lengths[at] === -1) return null;
    return bytes.subarray(starts[at]!, starts[at]! + lengths[at]!).toString("hex");
  });
}

async function read(source: AsyncIterable<Buffer>): Promise<(string | null)[][]> {
  const found: (string | null)[][] = [];
  for await (const batch of rowBatches(source, COLUMNS))
    for (let row = 0; row < batch.rows; row++) found.push(fieldsOf(batch, row));
  return found;
}

describe("rows of a binary COPY", () => {
  test("are found wherever the chunks end", async () => {
    await fc.assert(
      fc.asyncProperty(rows, cuts, async (all, lengths) => {
        const source = Readable.from(chunked(binaryRows(all), lengths));
        expect(await read(source)).toEqual(all.map(hex));
        // It was read to its end: a COPY that is left earlier is cancelled.
        expect(source.readableEnded).toBe(true);
      }),
    );
  });

  test("more than a thousand in a chunk are found too", async () => {
    const all = Array.from({ length: 5_000 }, (_, i) => [Buffer.from(`${i}`), null, Buffer.alloc(0)]);
    expect(await read(Readable.from([binaryRows(all)]))).toEqual(all.map(hex));
  });

  test("fail where they break off, are no COPY or have other columns", async () => {
    const whole = binaryRows([[Buffer.from("a"), null, Buffer.from("bc")]]);
    for (let length = 0; length < whole.length; length++)
      await expect(read(Readable.from([whole.subarray(0, length)]))).rejects.toThrow("broke off");
    await expect(read(Readable.from([Buffer.alloc(30)]))).rejects.toThrow("not a binary COPY");
    await expect(read(Readable.from([binaryRows([[null]])]))).rejects.toThrow("1 fields instead of 3");
  });

  test("are cut into pages of so many each", async () => {
    await fc.assert(
      fc.asyncProperty(rows, cuts, fc.integer({ min: 1, max: 5 }), async (all, lengths, size) => {
        const pages: (string | null)[][][] = [];
        const source = Readable.from(chunked(binaryRows(all), lengths));
        for await (const page of rowPages(rowBatches(source, COLUMNS), size)) {
          const found: (string | null)[][] = [];
          for await (const { batch, from, to } of page.slices)
            for (let row = from; row < to; row++) found.push(fieldsOf(batch, row));
          expect(page.rows()).toBe(found.length);
          pages.push(found);
        }
        expect(pages.flat()).toEqual(all.map(hex));
        expect(pages.slice(0, -1).every((page) => page.length === size)).toBe(true);
        expect(pages.at(-1)!.length > 0 || pages.length === 1).toBe(true);
      }),
    );
  });
});
