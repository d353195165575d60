import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
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
