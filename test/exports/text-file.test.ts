import { Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Column } from "../../src/exports/columns.js";
import type { StoredPart } from "../../src/exports/file-parts.js";
import { partedText, textFile, textFormats } from "../../src/exports/text-file.js";
import { binaryRows } from "./binary-rows.js";
import { chunked } from "./chunked.js";

const columns: Column[] = [{ name: "body", sql: "body", type: "text" }];

const wireOf = (values: readonly string[]) => binaryRows(values.map((value) => [Buffer.from(value)]));

test("a file of any parts is the file of all rows, compressed or not", async () => {
  const parts = fc.array(fc.array(fc.string({ unit: "grapheme" }), { maxLength: 4 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...textFormats),
      fc.constantFrom("none" as const, "gzip" as const),
      parts,
      fc.array(fc.nat({ max: 12 })),
      async (format, compression, values, cuts) => {
        const bytesOf = (lines: string[]) => Readable.from(chunked(wireOf(lines), cuts));
        const parted = partedText({ format, columns }, compression);
        const stored: Buffer[] = [];
        const known: StoredPart[] = [];
        for (const lines of values) {
          const part = parted.part(bytesOf(lines));
          const bytes = await buffer(part.bytes);
          stored.push(bytes);
          expect(part.rows()).toBe(lines.length);
          known.push({ rows: part.rows(), bytes: bytes.length, detail: part.detail() });
        }
        const joined = Buffer.concat(
          parted.join(known).map((segment) => ("inline" in segment ? segment.inline : stored[segment.part]!)),
        );
        const whole = textFile(bytesOf(values.flat()), { format, columns });
        expect((compression === "gzip" ? gunzipSync(joined) : joined).toString()).toBe(
          await text(whole.bytes),
        );
        expect(whole.rows()).toBe(values.flat().length);
      },
    ),
  );
});

test.each(textFormats)("a source of %s that breaks off breaks off the file and the part", async (format) => {
  const broken = () =>
    Readable.from(
      (async function* () {
        yield wireOf(["a"]).subarray(0, -2);
        throw new Error("connection lost");
      })(),
    );
  await expect(text(textFile(broken(), { format, columns }).bytes)).rejects.toThrow("connection lost");
  for (const compression of ["none", "gzip"] as const)
    await expect(buffer(partedText({ format, columns }, compression).part(broken()).bytes)).rejects.toThrow(
      "connection lost",
    );
});
