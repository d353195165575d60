import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ArtifactStore, ByteRange } from "../../src/exports/artifacts/artifact-store.js";
import { encryptedStore } from "../../src/exports/artifacts/encrypted.js";
import { createKeyRing } from "../../src/exports/artifacts/key-ring.js";
import {
  HEADER_BYTES,
  nonceOf,
  SEALED_BYTES,
  SEGMENT_BYTES,
} from "../../src/exports/artifacts/sealed-file.js";

const oldKey = { id: "2025", key: randomBytes(32).toString("base64") };
const newKey = { id: "2026", key: randomBytes(32).toString("base64") };

/** Files in memory, which a test can look into and change. */
function memory(): ArtifactStore & { files: Map<string, Buffer>; reads: ByteRange[] } {
  const files = new Map<string, Buffer>();
  const reads: ByteRange[] = [];
  return {
    files,
    reads,
    newKey: (name) => name,
    async write(key, source) {
      const chunks: Buffer[] = [];
      for await (const chunk of source) chunks.push(chunk as Buffer);
      const bytes = Buffer.concat(chunks);
      files.set(key, bytes);
      return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    },
    async open(key, range) {
      const file = files.get(key);
      if (!file) return undefined;
      if (range) reads.push(range);
      const wanted = range ? file.subarray(range.start, range.end + 1) : file;
      return Readable.from(wanted.length > 0 ? pieces(wanted, 10_007) : []);
    },
    size: async (key) => files.get(key)?.length,
    remove: async (key) => void files.delete(key),
    presign: async (key) => `https://storage/${key}`,
    sweep: async () => 0,
  };
}

function* pieces(bytes: Buffer, length: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** Around every edge: of nothing, of a segment, of two. */
const size = fc.oneof(
  fc.integer({ min: 0, max: 3 * SEGMENT_BYTES }),
  fc
    .tuple(fc.constantFrom(0, 1, 2, 3), fc.integer({ min: -2, max: 2 }))
    .map(([segments, more]) => Math.max(0, segments * SEGMENT_BYTES + more)),
);

async function stored(bytes: Buffer, pieceBytes = 33_333) {
  const inner = memory();
  const store = encryptedStore(inner, createKeyRing([newKey]));
  const key = store.newKey("run/1");
  const measure = await store.write(key, Readable.from(pieces(bytes, pieceBytes)));
  return { inner, store, key, measure };
}

const readAll = async (store: ArtifactStore, key: string, range?: ByteRange) =>
  buffer((await store.open(key, range))!);

describe("an encrypted file", () => {
  test("is read as it was written: any size, any pieces, any range, and only the segments of it", () =>
    fc.assert(
      fc.asyncProperty(
        size,
        fc.integer({ min: 1, max: 200_000 }),
        fc.array(
          fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
          {
            maxLength: 5,
          },
        ),
        async (length, pieceBytes, places) => {
          const bytes = randomBytes(length);
          const { inner, store, key, measure } = await stored(bytes, pieceBytes);
          expect(measure).toEqual({
            bytes: length,
            sha256: createHash("sha256").update(bytes).digest("hex"),
          });
          expect(await store.size(key)).toBe(length);
          expect((await readAll(store, key)).equals(bytes)).toBe(true);
          for (const [a, b] of places) {
            const start = Math.floor(Math.min(a, b) * length);
            const end = Math.floor(Math.max(a, b) * (length + 10));
            inner.reads.length = 0;
            const range = await readAll(store, key, { start, end });
            expect(range.equals(bytes.subarray(start, end + 1))).toBe(true);
            const read = inner.reads.reduce((sum, { start, end }) => sum + end - start + 1, 0);
            expect(read).toBeLessThanOrEqual(HEADER_BYTES + range.length + 2 * SEALED_BYTES);
          }
        },
      ),
      { numRuns: 60 },
    ));

  test("F47: shows nothing of what it holds", async () => {
    const bytes = Buffer.alloc(SEGMENT_BYTES * 2, "canary 4915550001 ");
    const { inner, key } = await stored(bytes);
    expect(inner.files.get(key)!.includes("4915550001")).toBe(false);
    expect(inner.files.get(key)!.includes(Buffer.from(newKey.key, "base64"))).toBe(false);
  });

  const damaged = { code: "file_damaged" };

  test("F47: is refused when any byte of it is another", () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES + 100),
        fc.oneof(fc.nat({ max: HEADER_BYTES - 1 }), fc.nat()),
        fc.integer({ min: 1, max: 255 }),
        async (length, at, flip) => {
          const { inner, store, key } = await stored(randomBytes(length));
          const file = inner.files.get(key)!;
          file[at % file.length]! ^= flip;
          // Another id of a key is one that nobody has.
          await expect(readAll(store, key)).rejects.toMatchObject({
            code: expect.stringMatching(/^file_(damaged|key_missing)$/),
          });
        },
      ),
      { numRuns: 150 },
    ));

  test("is refused when it was cut anywhere, or something was added", () =>
    fc.assert(
      fc.asyncProperty(
        size,
        fc.oneof(fc.nat(), fc.constantFrom(0, HEADER_BYTES, HEADER_BYTES + SEALED_BYTES)),
        async (length, at) => {
          const { inner, store, key } = await stored(randomBytes(length));
          const file = inner.files.get(key)!;
          inner.files.set(key, file.subarray(0, at % file.length));
          await expect(readAll(store, key)).rejects.toMatchObject(damaged);
          inner.files.set(key, Buffer.concat([file, randomBytes(1 + (at % 100))]));
          await expect(readAll(store, key)).rejects.toMatchObject(damaged);
        },
      ),
      { numRuns: 60 },
    ));

  test("is refused when its segments change places, also in a range", async () => {
    const { inner, store, key } = await stored(randomBytes(SEGMENT_BYTES * 3));
    const file = inner.files.get(key)!;
    const at = (index: number) => HEADER_BYTES + index * SEALED_BYTES;
    const segment = (index: number) => file.subarray(at(index), at(index + 1));
    const header = file.subarray(0, HEADER_BYTES);
    inner.files.set(key, Buffer.concat([header, segment(1), segment(0), segment(2)]));
    await expect(readAll(store, key)).rejects.toMatchObject(damaged);
    await expect(readAll(store, key, { start: 5, end: 9 })).rejects.toMatchObject(damaged);
    inner.files.set(key, Buffer.concat([header, segment(0), segment(2)]));
    await expect(readAll(store, key)).rejects.toMatchObject(damaged);
    await expect(readAll(store, key, { start: SEGMENT_BYTES, end: SEGMENT_BYTES + 9 })).rejects.toMatchObject(
      damaged,
    );
  });

  test("is refused under the name of another, and so is a file that is not encrypted", async () => {
    const { inner, store, key } = await stored(randomBytes(100));
    const other = store.newKey("run/2");
    inner.files.set(other, inner.files.get(key)!);
    await expect(readAll(store, other)).rejects.toMatchObject(damaged);
    await expect(readAll(store, other, { start: 0, end: 9 })).rejects.toMatchObject(damaged);
    inner.files.set(other, randomBytes(1_000));
    await expect(store.open(other)).rejects.toMatchObject(damaged);
  });

  test("is given out by nobody else", async () => {
    const { store, key } = await stored(randomBytes(100));
    const label = { fileName: "a.csv", contentType: "text/csv" };
    expect(await store.presign(key, label, 1_000)).toBeUndefined();
    expect(await store.presign("run/1", label, 1_000)).toBe("https://storage/run/1");
  });

  test("fails with its source, which is let go", async () => {
    const store = encryptedStore(memory(), createKeyRing([newKey]));
    const source = Readable.from(
      (async function* () {
        yield Buffer.from("half");
        throw new Error("connection lost");
      })(),
    );
    await expect(store.write(store.newKey("run/1"), source)).rejects.toThrow("connection lost");
    expect(source.destroyed).toBe(true);
  });
});

describe("keys", () => {
  const bytes = randomBytes(200_000);
  const write = async (store: ArtifactStore) => {
    const key = store.newKey("run/1");
    await store.write(key, Readable.from([bytes]));
    return key;
  };

  test("F47: rotate: the first one encrypts, and what an older one has encrypted stays readable while it is there", async () => {
    const inner = memory();
    const key = await write(encryptedStore(inner, createKeyRing([oldKey])));
    const rotated = encryptedStore(inner, createKeyRing([newKey, oldKey]));
    expect((await readAll(rotated, key)).equals(bytes)).toBe(true);
    expect(await rotated.size(key)).toBe(bytes.length);
    await write(rotated);
    const onlyNew = encryptedStore(inner, createKeyRing([newKey]));
    expect((await readAll(onlyNew, key)).equals(bytes)).toBe(true);
  });

  test("that are missing are named", async () => {
    const inner = memory();
    const key = await write(encryptedStore(inner, createKeyRing([oldKey])));
    // Before anything is given out, so that it can be answered.
    for (const ring of [createKeyRing([newKey]), createKeyRing([])])
      for (const range of [undefined, { start: 0, end: 9 }])
        await expect(encryptedStore(inner, ring).open(key, range)).rejects.toMatchObject({
          code: "file_key_missing",
          message: expect.stringContaining('"2025"'),
        });
    const impostor = createKeyRing([{ ...newKey, id: "2025" }]);
    await expect(readAll(encryptedStore(inner, impostor), key)).rejects.toMatchObject({
      code: "file_damaged",
    });
  });

  test("may come later and go again: what is not encrypted stays readable", async () => {
    const inner = memory();
    const plain = encryptedStore(inner, createKeyRing([]));
    const key = await write(plain);
    expect(inner.files.get(key)!.equals(bytes)).toBe(true);
    const sealing = encryptedStore(inner, createKeyRing([newKey]));
    expect((await readAll(sealing, key)).equals(bytes)).toBe(true);
    expect(String(await readAll(sealing, key, { start: 0, end: 9 }))).toBe(String(bytes.subarray(0, 10)));
    expect(await sealing.size(key)).toBe(bytes.length);
  });
});

test("no two segments of a file have the same nonce, and no two files the same key", async () => {
  const prefix = { noncePrefix: randomBytes(7) };
  const nonces = new Set<string>();
  for (let index = 0; index < 2_000; index++)
    for (const isLast of [false, true]) nonces.add(nonceOf(prefix, index, isLast).toString("hex"));
  nonces.add(nonceOf(prefix, 2 ** 32 - 1, true).toString("hex"));
  expect(nonces.size).toBe(4_001);
  const [one, two] = [await stored(Buffer.alloc(100)), await stored(Buffer.alloc(100))];
  expect(one.inner.files.get(one.key)!.subarray(HEADER_BYTES)).not.toEqual(
    two.inner.files.get(two.key)!.subarray(HEADER_BYTES),
  );
});
