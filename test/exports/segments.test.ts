import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDiskStore } from "../../src/exports/artifacts/disk.js";
import { type FileSegment, openSegments, segmentKeys } from "../../src/exports/artifacts/segments.js";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "segments-test-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

test("any range of any segments is that range of the whole", async () => {
  const store = createDiskStore(root);
  let files = 0;
  const segment = fc.record({ stored: fc.boolean(), bytes: fc.uint8Array({ maxLength: 6 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(segment, { maxLength: 5 }), fc.nat(), fc.nat(), async (made, from, length) => {
      const segments: FileSegment[] = [];
      for (const { stored, bytes } of made) {
        const key = `run/${files++}`;
        if (stored) await store.write(key, Readable.from([Buffer.from(bytes)]));
        segments.push(
          stored ? { key, bytes: bytes.length } : { inline: Buffer.from(bytes).toString("base64") },
        );
      }
      const whole = Buffer.concat(made.map(({ bytes }) => bytes));
      expect(await buffer((await openSegments(store, segments))!)).toEqual(whole);
      expect(segmentKeys(segments)).toHaveLength(made.filter(({ stored }) => stored).length);
      if (whole.length === 0) return;
      const start = from % whole.length;
      const end = start + (length % (whole.length - start));
      expect(await buffer((await openSegments(store, segments, { start, end }))!)).toEqual(
        whole.subarray(start, end + 1),
      );
    }),
  );
});

test("a file that is missing is told at once, or breaks off what has begun", async () => {
  const store = createDiskStore(root);
  await store.write("there/1", Readable.from([Buffer.from("there")]));
  const there = { key: "there/1", bytes: 5 };
  const missing = { key: "missing/1", bytes: 7 };
  expect(await openSegments(store, [{ inline: "aGVhZA==" }, missing, there])).toBeUndefined();
  await expect(buffer((await openSegments(store, [there, missing]))!)).rejects.toThrow(
    "no longer in the store",
  );
});
