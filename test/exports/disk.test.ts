import { createHash, randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDiskStore } from "../../src/exports/artifacts/disk.js";

let root: string;
let key: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "artifacts-"));
  key = `${randomUUID()}/1`;
});
afterEach(() => rm(root, { recursive: true, force: true }));

const files = async (): Promise<string[]> =>
  (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => entry.name);

async function place(name: string, ageMs: number): Promise<void> {
  const path = join(root, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, "x");
  const time = new Date(Date.now() - ageMs);
  await utimes(path, time, time);
  await utimes(dirname(path), time, time);
}

describe("write", () => {
  test("stores a stream and says what it was", async () => {
    const store = createDiskStore(join(root, "not", "there", "yet"));
    const bytes = randomBytes(300_000);
    const measure = await store.write(key, Readable.from([bytes.subarray(0, 1), bytes.subarray(1)]));
    expect(measure).toEqual({
      bytes: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
    });
    expect(await store.size(key)).toBe(bytes.length);
    expect((await buffer((await store.open(key))!)).equals(bytes)).toBe(true);
    expect(await files()).toEqual(["1"]);
  });

  test("stores nothing as an empty file, and takes an async iterable", async () => {
    const store = createDiskStore(root);
    async function* nothing(): AsyncGenerator<Buffer> {}
    expect((await store.write(key, nothing())).bytes).toBe(0);
    expect(await store.size(key)).toBe(0);
  });

  test("shows no file before it is complete", async () => {
    const store = createDiskStore(root);
    const source = new PassThrough();
    const writing = store.write(key, source);
    await new Promise((resolve) => source.write("first", resolve));
    expect(await store.size(key)).toBeUndefined();
    source.end();
    await writing;
    expect(await store.size(key)).toBe(5);
  });

  test("leaves nothing when the source fails", async () => {
    const store = createDiskStore(root);
    async function* failing() {
      yield Buffer.from("half");
      throw new Error("connection lost");
    }
    await expect(store.write(key, failing())).rejects.toThrow("connection lost");
    expect(await files()).toEqual([]);
  });

  test("leaves nothing when it is aborted, even if the source is silent", async () => {
    const store = createDiskStore(root);
    const abort = new AbortController();
    const source = new PassThrough();
    const writing = store.write(key, source, abort.signal);
    await new Promise((resolve) => source.write("half", resolve));
    abort.abort(new Error("cancelled by the user"));
    await expect(writing).rejects.toThrow("cancelled by the user");
    expect(source.destroyed).toBe(true);
    expect(await files()).toEqual([]);
  });

  test("aborts although an async iterable never answers", async () => {
    const store = createDiskStore(root);
    const abort = new AbortController();
    async function* stuck(): AsyncGenerator<Buffer> {
      yield Buffer.from("half");
      abort.abort(new Error("timed out"));
      await new Promise(() => {});
    }
    await expect(store.write(key, stuck(), abort.signal)).rejects.toThrow("timed out");
    expect(await files()).toEqual([]);
  });

  test("does not begin when it is aborted already", async () => {
    const store = createDiskStore(root);
    const abort = AbortSignal.abort(new Error("too late"));
    const source = Readable.from([Buffer.from("x")]);
    await expect(store.write(key, source, abort)).rejects.toThrow("too late");
    expect(source.destroyed).toBe(true);
    expect(await files()).toEqual([]);
  });

  test.runIf(existsSync("/dev/full"))(
    "a full disk is an error with its code and leaves no part",
    async () => {
      const store = createDiskStore(root);
      await mkdir(dirname(join(root, key)));
      await symlink("/dev/full", join(root, `${key}.part`));
      const writing = store.write(key, Readable.from([randomBytes(100_000)]));
      await expect(writing).rejects.toMatchObject({ code: "ENOSPC" });
      expect(await files()).toEqual([]);
    },
  );

  test("replaces what a killed writer left", async () => {
    const store = createDiskStore(root);
    await place(`${key}.part`, 0);
    await store.write(key, Readable.from([Buffer.from("whole")]));
    expect(await readFile(join(root, key), "utf8")).toBe("whole");
    expect(await files()).toEqual(["1"]);
  });
});

describe("read and remove", () => {
  test("reads an inclusive range", async () => {
    const store = createDiskStore(root);
    await store.write(key, Readable.from([Buffer.from("0123456789")]));
    expect(String(await buffer((await store.open(key, { start: 2, end: 4 }))!))).toBe("234");
    expect(String(await buffer((await store.open(key, { start: 9, end: 9 }))!))).toBe("9");
  });

  test("an open file outlives its removal", async () => {
    const store = createDiskStore(root);
    await store.write(key, Readable.from([Buffer.from("still here")]));
    const stream = await store.open(key);
    await store.remove(key);
    expect(String(await buffer(stream!))).toBe("still here");
  });

  test("what is not there is undefined, and removing it is no error", async () => {
    const store = createDiskStore(root);
    expect(await store.open(key)).toBeUndefined();
    expect(await store.size(key)).toBeUndefined();
    await store.remove(key);
    await store.write(key, Readable.from([Buffer.from("x")]));
    expect(await store.size(dirname(key))).toBeUndefined();
    expect(await store.open(dirname(key))).toBeUndefined();
    expect(await store.open(`${key}/2`)).toBeUndefined();
  });
});

test.each([
  "",
  ".",
  "..",
  "../x",
  "a/../../x",
  "a/..",
  "/etc/passwd",
  "a//b",
  "a/",
  "./a",
  "a\\..\\b",
  "..\\x",
  "C:/x",
  "a%2f..",
  "a\0b",
  "a b",
  "ä",
  "a/1.part",
  "․․/x",
  "x".repeat(301),
])("refuses the key %j everywhere", async (bad) => {
  const store = createDiskStore(root);
  const message = "malformed artifact key";
  await expect(store.write(bad, Readable.from([]))).rejects.toThrow(message);
  await expect(store.open(bad)).rejects.toThrow(message);
  await expect(store.size(bad)).rejects.toThrow(message);
  await expect(store.remove(bad)).rejects.toThrow(message);
  expect(await files()).toEqual([]);
});

describe("sweep", () => {
  const HOUR = 3_600_000;

  test("removes old parts and files that nobody knows, and keeps the rest", async () => {
    const store = createDiskStore(root);
    await place("a/1", 2 * HOUR);
    await place("a/2.part", 2 * HOUR);
    await place("b/live", 2 * HOUR);
    await place("b/live-part.part", 2 * HOUR);
    await place("c/young", HOUR / 2);
    await place("c/young-part.part", HOUR / 2);
    const asked: string[] = [];
    const isLive = async (asking: string) => {
      asked.push(asking);
      return asking.startsWith("b/live");
    };
    expect(await store.sweep(isLive, HOUR, new Date())).toBe(2);
    expect((await files()).sort()).toEqual(["live", "live-part.part", "young", "young-part.part"]);
    expect(asked.sort()).toEqual(["a/1", "a/2", "b/live", "b/live-part"]);
    expect(await store.sweep(isLive, HOUR, new Date())).toBe(0);
  });

  test("removes folders once they have been empty for that long", async () => {
    const store = createDiskStore(root);
    await place("a/1", 2 * HOUR);
    await store.sweep(async () => false, HOUR, new Date());
    expect(await readdir(root)).toEqual(["a"]);
    await store.sweep(async () => false, HOUR, new Date(Date.now() + 2 * HOUR));
    expect(await readdir(root)).toEqual([]);
  });

  test("follows no link and needs no root", async () => {
    await place("outside/1", 2 * HOUR);
    await mkdir(join(root, "store"));
    await symlink(join(root, "outside"), join(root, "store", "link"));
    expect(await createDiskStore(join(root, "store")).sweep(async () => false, HOUR, new Date())).toBe(0);
    expect(await createDiskStore(join(root, "missing")).sweep(async () => false, HOUR, new Date())).toBe(0);
    expect(await readdir(join(root, "outside"))).toEqual(["1"]);
  });
});
