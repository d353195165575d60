import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { measured } from "../../src/exports/measure.js";

test("measured passes bytes on and says how many and which", async () => {
  const bytes = Buffer.from("größe\n".repeat(50_000));
  const measure = measured();
  expect(() => measure.result()).toThrow("not ended");
  const result = await buffer(Readable.from([bytes.subarray(0, 7), bytes.subarray(7)]).pipe(measure));
  expect(result.equals(bytes)).toBe(true);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  expect(measure.result()).toEqual({ bytes: bytes.length, sha256 });
  expect(measure.result()).toEqual({ bytes: bytes.length, sha256 });
});

test("nothing has the measure of nothing", async () => {
  const measure = measured();
  await buffer(Readable.from([]).pipe(measure));
  expect(measure.result()).toEqual({
    bytes: 0,
    sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  });
});
