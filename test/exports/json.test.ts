import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Column } from "../../src/exports/columns.js";
import { prettyRows } from "../../src/exports/json.js";
import { binaryRows } from "./binary-rows.js";
import { chunked } from "./chunked.js";

const columns: Column[] = ["a", "b"].map((name) => ({ name, sql: name, type: "text" }));

test("a document for people is what JSON.stringify makes of all of it, however the rows arrive", async () => {
  const row = fc.tuple(fc.option(fc.string({ unit: "grapheme" })), fc.option(fc.string({ unit: "binary" })));
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 6 }), fc.array(fc.nat({ max: 12 })), async (rows, cuts) => {
      const wire = binaryRows(
        rows.map((fields) => fields.map((one) => (one === null ? null : Buffer.from(one)))),
      );
      const head = { title: "größe", list: [1, { two: "2" }] };
      const made = prettyRows(Readable.from(chunked(wire, cuts)), columns, head, "rows");
      const expected = { ...head, rows: rows.map(([a, b]) => ({ a, b: b && Buffer.from(b).toString() })) };
      expect(await text(made.bytes)).toBe(`${JSON.stringify(expected, null, 2)}\n`);
      expect(made.rows()).toBe(rows.length);
    }),
  );
});
