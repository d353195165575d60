import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { compressed, compressions, hasZstd } from "../../src/exports/compression.js";

const kinds = compressions.filter((name) => name !== "zstd" || hasZstd);

it.each(kinds)("%s: an error of the source is the result's, so that no file looks whole", async (kind) => {
  async function* rows() {
    yield Buffer.from("one\n");
    throw new Error("connection lost");
  }
  await expect(buffer(compressed(Readable.from(rows()), kind))).rejects.toThrow("connection lost");
});

it.each(kinds)("%s: who gives the result up stops the source", async (kind) => {
  const source = new Readable({ read() {} });
  const closed = once(source, "close");
  const result = compressed(source, kind);
  result.on("error", () => {});
  result.destroy();
  await closed.catch(() => {});
  expect(source.destroyed).toBe(true);
});

it.each(kinds)("%s: the same bytes give the same file, however they come", async (kind) => {
  const text = Buffer.from(
    Array.from({ length: 20_000 }, (_, n) => `row ${n},${(n * 7_919) % 1_000}\n`).join(""),
  );
  async function* inPieces(size: number, isEndLate: boolean) {
    for (let at = 0; at < text.length; at += size) yield text.subarray(at, at + size);
    if (isEndLate) await setImmediate();
  }
  const files = await Promise.all(
    [999, 16_384, 65_536, 100_000, text.length].flatMap((size) =>
      [false, true].map((isEndLate) => {
        const source = Readable.from(inPieces(size, isEndLate), { objectMode: false });
        return buffer(compressed(source, kind));
      }),
    ),
  );
  for (const file of files) expect(file.equals(files[0]!)).toBe(true);
});
