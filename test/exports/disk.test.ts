import { randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
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

/** What every store does is in `artifact-stores.test.ts`. */
describe("a file on disk", () => {
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

test("a folder is no file", async () => {
  const store = createDiskStore(root);
  await store.write(key, Readable.from([Buffer.from("x")]));
  expect(await store.size(dirname(key))).toBeUndefined();
  expect(await store.open(dirname(key))).toBeUndefined();
  expect(await store.open(`${key}/2`)).toBeUndefined();
});

const nothingLive = async () => new Set<string>();

describe("sweep", () => {
  const HOUR = 3_600_000;
  const ago = (ms: number) => new Date(Date.now() - ms);

  test("removes old parts and files that nobody knows, and keeps the rest", async () => {
    const store = createDiskStore(root);
    await place("a/1", 2 * HOUR);
    await place("a/2.part", 2 * HOUR);
    await place("b/live", 2 * HOUR);
    await place("b/live-part.part", 2 * HOUR);
    await place("c/young", HOUR / 2);
    await place("c/young-part.part", HOUR / 2);
    const asked: string[] = [];
    const isLive = async (asking: readonly string[]) => {
      asked.push(...asking);
      return new Set(asking.filter((key) => key.startsWith("b/live")));
    };
    expect(await store.sweep("", isLive, ago(HOUR))).toBe(2);
    expect((await files()).sort()).toEqual(["live", "live-part.part", "young", "young-part.part"]);
    expect(asked.sort()).toEqual(["a/1", "a/2", "b/live", "b/live-part"]);
    expect(await store.sweep("", isLive, ago(HOUR))).toBe(0);
  });

  test("leaves alone what is not named so", async () => {
    const store = createDiskStore(root);
    for (const key of ["a1/1", "a2/1", "b1/1", "b1/a"]) await place(key, 2 * HOUR);
    expect(await store.sweep("a", nothingLive, ago(HOUR))).toBe(2);
    expect((await files()).sort()).toEqual(["1", "a"]);
    expect(await store.sweep("c", nothingLive, ago(HOUR))).toBe(0);
  });

  test("removes folders once they have been empty for that long", async () => {
    const store = createDiskStore(root);
    await place("a/1", 2 * HOUR);
    await store.sweep("", nothingLive, ago(HOUR));
    expect(await readdir(root)).toEqual(["a"]);
    await store.sweep("", nothingLive, ago(-HOUR));
    expect(await readdir(root)).toEqual([]);
  });

  test("follows no link and needs no root", async () => {
    await place("outside/1", 2 * HOUR);
    await mkdir(join(root, "store"));
    await symlink(join(root, "outside"), join(root, "store", "link"));
    expect(await createDiskStore(join(root, "store")).sweep("", nothingLive, ago(HOUR))).toBe(0);
    expect(await createDiskStore(join(root, "missing")).sweep("", nothingLive, ago(HOUR))).toBe(0);
    expect(await readdir(join(root, "outside"))).toEqual(["1"]);
  });
});
