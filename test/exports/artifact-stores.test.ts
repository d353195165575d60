import { createHash, randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ArtifactStore } from "../../src/exports/artifacts/artifact-store.js";
import { createDiskStore } from "../../src/exports/artifacts/disk.js";
import { encryptedStore } from "../../src/exports/artifacts/encrypted.js";
import { createKeyRing } from "../../src/exports/artifacts/key-ring.js";
import { createS3Store } from "../../src/exports/artifacts/s3.js";
import { hasSwift, startS3, type TestS3 } from "../support/s3.js";

interface Place {
  open(): Promise<ArtifactStore>;
  /** Everything that is stored, half-written files included. */
  content(): Promise<string[]>;
  close(): Promise<void>;
}

function disk(): Place {
  let root: string;
  return {
    async open() {
      root = await mkdtemp(join(tmpdir(), "artifacts-"));
      return createDiskStore(join(root, "not", "there", "yet"));
    },
    async content() {
      const entries = await readdir(root, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    },
    close: () => rm(root, { recursive: true, force: true }),
  };
}

let s3: TestS3;
function bucket(): Place {
  return {
    async open() {
      s3 ??= await startS3();
      return createS3Store(s3.settings({ prefix: `${randomUUID()}/` }));
    },
    content: async () => [...(await s3.objects()), ...(await s3.uploads())],
    // Every test leaves it empty but for what it stored.
    close: async () => {},
  };
}
afterAll(() => s3?.stop());

const key32 = () => randomBytes(32).toString("base64");
const sealedIn = (place: () => Place) => (): Place => {
  const inner = place();
  const ring = createKeyRing([{ id: "k1", key: key32() }]);
  return { ...inner, open: async () => encryptedStore(await inner.open(), ring) };
};

const badKeys = [
  ...["", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "a/", "./a", "a\\..\\b", "..\\x"],
  ...["C:/x", "a%2f..", "a\0b", "a b", "ä", "a/1.part", "․․/x", "x".repeat(301)],
];

const places: [string, boolean, () => Place][] = [
  ["on disk", true, disk],
  ["on disk, encrypted", true, sealedIn(disk)],
  ["in S3", hasSwift, bucket],
];

for (const [title, isThere, open] of places)
  describe.skipIf(!isThere)(`files ${title}`, () => {
    const place = open();
    let store: ArtifactStore;
    let key: string;
    let before: string[];
    beforeAll(async () => {
      store = await place.open();
    });
    afterAll(() => place.close());
    beforeEach(async () => {
      key = store.newKey(`${randomUUID()}/1`);
      before = await place.content();
    });
    afterEach(() => store.remove(key));

    const untouched = async () => expect((await place.content()).sort()).toEqual(before.sort());

    test("are stored whole, and it is said what they were", async () => {
      const bytes = randomBytes(300_000);
      const measure = await store.write(key, Readable.from([bytes.subarray(0, 1), bytes.subarray(1)]));
      expect(measure).toEqual({
        bytes: bytes.length,
        sha256: createHash("sha256").update(bytes).digest("hex"),
      });
      expect(await store.size(key)).toBe(bytes.length);
      expect((await buffer((await store.open(key))!)).equals(bytes)).toBe(true);
      expect(await place.content()).toHaveLength(before.length + 1);
    });

    test("may be large, and are read from any place", async () => {
      // In S3: two whole parts and a bit.
      const [piece, pieces] = [randomBytes(1024 * 1024), 17];
      const hash = createHash("sha256");
      async function* large(): AsyncGenerator<Buffer> {
        for (let i = 0; i < pieces; i++) {
          hash.update(piece);
          yield piece;
        }
      }
      const bytes = pieces * piece.length;
      const measure = await store.write(key, large());
      const sha256 = hash.digest("hex");
      expect(measure).toEqual({ bytes, sha256 });
      const read = createHash("sha256");
      for await (const chunk of (await store.open(key))!) read.update(chunk as Buffer);
      expect(read.digest("hex")).toBe(sha256);
      for (const start of [8 * piece.length - 10, bytes - 20]) {
        const range = await buffer((await store.open(key, { start, end: start + 19 }))!);
        const two = Buffer.concat([piece, piece]).subarray(start % piece.length);
        expect(range.equals(two.subarray(0, 20)), String(start)).toBe(true);
      }
    });

    test("may be empty, and may come from an async iterable", async () => {
      async function* nothing(): AsyncGenerator<Buffer> {}
      expect((await store.write(key, nothing())).bytes).toBe(0);
      expect(await store.size(key)).toBe(0);
      expect(await buffer((await store.open(key))!)).toHaveLength(0);
    });

    test("are not there before they are complete", async () => {
      const source = new PassThrough();
      const writing = store.write(key, source);
      await new Promise((resolve) => source.write("first", resolve));
      expect(await store.size(key)).toBeUndefined();
      source.end();
      await writing;
      expect(await store.size(key)).toBe(5);
    });

    test("leave nothing when their source fails", async () => {
      async function* failing() {
        yield Buffer.from("half");
        throw new Error("connection lost");
      }
      await expect(store.write(key, failing())).rejects.toThrow("connection lost");
      await untouched();
    });

    test("leave nothing when they are aborted, even if the source is silent", async () => {
      const abort = new AbortController();
      const source = new PassThrough();
      const writing = store.write(key, source, abort.signal);
      await new Promise((resolve) => source.write("half", resolve));
      abort.abort(new Error("cancelled by the user"));
      await expect(writing).rejects.toThrow("cancelled by the user");
      expect(source.destroyed).toBe(true);
      await untouched();
    });

    test("abort although an async iterable never answers", async () => {
      const abort = new AbortController();
      async function* stuck(): AsyncGenerator<Buffer> {
        yield Buffer.from("half");
        abort.abort(new Error("timed out"));
        await new Promise(() => {});
      }
      await expect(store.write(key, stuck(), abort.signal)).rejects.toThrow("timed out");
      await untouched();
    });

    test("do not begin when they are aborted already", async () => {
      const abort = AbortSignal.abort(new Error("too late"));
      const source = Readable.from([Buffer.from("x")]);
      await expect(store.write(key, source, abort)).rejects.toThrow("too late");
      expect(source.destroyed).toBe(true);
      await untouched();
    });

    test("are read by inclusive ranges, which may end behind the end", async () => {
      await store.write(key, Readable.from([Buffer.from("0123456789")]));
      const read = async (start: number, end: number) =>
        String(await buffer((await store.open(key, { start, end }))!));
      expect(await read(2, 4)).toBe("234");
      expect(await read(9, 9)).toBe("9");
      expect(await read(8, 99)).toBe("89");
      expect(await read(10, 99)).toBe("");
    });

    test("outlive their removal for whoever has begun to read", async () => {
      await store.write(key, Readable.from([Buffer.from("still here")]));
      const stream = await store.open(key);
      await store.remove(key);
      expect(String(await buffer(stream!))).toBe("still here");
    });

    test("that are not there are undefined, and removing them is no error", async () => {
      expect(await store.open(key)).toBeUndefined();
      expect(await store.open(key, { start: 0, end: 1 })).toBeUndefined();
      expect(await store.size(key)).toBeUndefined();
      await store.remove(key);
      await store.write(key, Readable.from([Buffer.from("x")]));
      const folder = key.split("/")[0]!;
      expect(await store.size(folder)).toBeUndefined();
      expect(await store.open(folder)).toBeUndefined();
    });

    test("are swept once they are old and nobody needs them", async () => {
      const [dead, live] = [store.newKey("dead/1"), store.newKey("live/1")];
      for (const name of [dead, live]) await store.write(name, Readable.from([Buffer.from("x")]));
      const asked: string[] = [];
      const sweep = (prefix: string, before: Date) =>
        store.sweep(
          prefix,
          async (keys) => {
            asked.push(...keys);
            return new Set([live]);
          },
          before,
        );
      expect(await sweep("", new Date(Date.now() - 3_600_000))).toBe(0);
      const later = new Date(Date.now() + 3_600_000);
      expect(await sweep("l", later)).toBe(0);
      expect(asked.splice(0)).toEqual([live]);
      expect(await sweep("", later)).toBe(1);
      expect(asked.sort()).toEqual([dead, live]);
      expect([await store.size(dead), await store.size(live)]).toEqual([undefined, 1]);
      expect(await sweep("d", later)).toBe(0);
      await store.remove(live);
    });

    test("have names that lead nowhere else", async () => {
      for (const bad of badKeys) {
        const message = "malformed artifact key";
        await expect(store.write(bad, Readable.from([])), bad).rejects.toThrow(message);
        await expect(store.open(bad), bad).rejects.toThrow(message);
        await expect(store.size(bad), bad).rejects.toThrow(message);
        await expect(store.remove(bad), bad).rejects.toThrow(message);
      }
      await untouched();
    });
  });
