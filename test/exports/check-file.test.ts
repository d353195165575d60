import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkFile } from "../../src/exports/check-file.js";
import { chunked } from "./chunked.js";

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A file of parts with other bytes before each of them, and what its manifest says. */
const files = fc
  .array(fc.tuple(fc.uint8Array({ maxLength: 3 }), fc.uint8Array({ minLength: 1, maxLength: 6 })), {
    maxLength: 5,
  })
  .map((made) => {
    const file = Buffer.concat(made.flat());
    let offset = 0;
    const parts = made.map(([before, part]) => {
      const start = offset + before.length;
      offset = start + part.length;
      return { offset: start, bytes: part.length, sha256: digest(part) };
    });
    return { file, expected: { bytes: file.length, sha256: digest(file), parts } };
  });
const cuts = fc.array(fc.nat({ max: 4 }));
const read = (bytes: Buffer, at: number[]) => Readable.from(chunked(bytes, at));

test("a file is what its manifest says, however its bytes come", async () => {
  await fc.assert(
    fc.asyncProperty(files, cuts, async ({ file, expected }, at) => {
      expect(await checkFile(read(file, at), expected)).toEqual({
        ...{ bytes: file.length, sha256: expected.sha256, matches: true, brokenParts: [] },
      });
    }),
  );
});

test("a changed byte and a missing end are told, with the parts that they hit", async () => {
  await fc.assert(
    fc.asyncProperty(files, cuts, fc.nat(), fc.boolean(), async ({ file, expected }, at, where, cut) => {
      fc.pre(file.length > 0);
      const place = where % file.length;
      const changed = cut ? file.subarray(0, place) : Buffer.from(file);
      if (!cut) changed[place]! ^= 1;
      const hit = expected.parts.flatMap(({ offset, bytes }, index) => {
        const isHit = cut ? offset + bytes > place : offset <= place && place < offset + bytes;
        return isHit ? [index] : [];
      });
      const found = await checkFile(read(changed, at), expected);
      expect(found.matches).toBe(false);
      expect(found.brokenParts).toEqual(hit);
    }),
  );
});
