import { Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonElements } from "../../src/exports/json.js";
import { countRows } from "../../src/exports/measure.js";
import { chunked } from "./chunked.js";

test("jsonElements makes the elements of one array of the lines, however the bytes are cut", async () => {
  const object = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue());
  await fc.assert(
    fc.asyncProperty(
      fc.array(object, { maxLength: 6 }),
      fc.array(fc.nat({ max: 12 })),
      async (objects, cuts) => {
        const lines = Buffer.from(objects.map((value) => `${JSON.stringify(value)}\n`).join(""));
        const transform = jsonElements();
        const result = String(await buffer(Readable.from(chunked(lines, cuts)).pipe(transform)));
        expect(result).toBe(
          objects.length === 0 ? "" : `\n${objects.map((value) => JSON.stringify(value)).join(",\n")}`,
        );
        expect(transform.rows()).toBe(objects.length);
      },
    ),
  );
});

test("jsonElements accepts a last line without an end", async () => {
  const transform = jsonElements();
  expect(await text(Readable.from([Buffer.from('{"a":1}\n{"a":2}')]).pipe(transform))).toBe(
    '\n{"a":1},\n{"a":2}',
  );
  expect(transform.rows()).toBe(2);
});

test("countRows counts lines and passes them on", async () => {
  const counter = countRows();
  const lines = ['{"a":1}\n{"a"', ":2}\n", '{"a":3}\n'].map((part) => Buffer.from(part));
  expect(await text(Readable.from(lines).pipe(counter))).toBe(lines.join(""));
  expect(counter.rows()).toBe(3);
});
