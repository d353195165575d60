import type { Dirent } from "node:fs";
import {
  type FileHandle,
  mkdir,
  open,
  opendir,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { Readable } from "node:stream";
import type { Measure } from "../measure.js";
import {
  type ArtifactStore,
  isArtifactKey,
  type LiveAmong,
  PART_SUFFIX,
  requireArtifactKey,
  type Source,
  SWEEP_BATCH,
} from "./artifact-store.js";
import { drain } from "./drain.js";

const MISSING = new Set(["ENOENT", "ENOTDIR"]);
const errorCode = (error: unknown): string => (error as NodeJS.ErrnoException | undefined)?.code ?? "";

async function unlessMissing<T>(action: Promise<T>): Promise<T | undefined> {
  try {
    return await action;
  } catch (error) {
    if (MISSING.has(errorCode(error))) return undefined;
    throw error;
  }
}

/** Artifacts as files under `root`, which is made when it is first needed. */
export function createDiskStore(root: string): ArtifactStore {
  const base = resolve(root);
  const syncBase = shared(() => syncFolder(base));

  function pathOf(key: string): string {
    requireArtifactKey(key);
    return join(base, key);
  }

  return {
    newKey: (name) => name,

    async write(key, source, signal) {
      const path = pathOf(key);
      const measure = await replaceFile(path, source, signal);
      // A rename lives in its folder, and a new folder in the one above it.
      await syncFolder(dirname(path));
      await syncBase();
      return measure;
    },

    async open(key, range) {
      const file = await unlessMissing(open(pathOf(key), "r"));
      if (!file) return undefined;
      if ((await file.stat()).isFile()) return file.createReadStream({ ...range });
      await file.close();
      return undefined;
    },

    async size(key) {
      const stats = await unlessMissing(stat(pathOf(key)));
      return stats?.isFile() ? stats.size : undefined;
    },

    async remove(key) {
      const path = pathOf(key);
      await unlessMissing(unlink(path));
      await removeEmptyFolder(dirname(path));
    },

    presign: async () => undefined,

    sweep: (prefix, liveAmong, before) => sweep(base, prefix, liveAmong, before),
  };
}

/** Writes beside `path` and renames, so that whoever finds the file finds all of it, on the disk. */
async function replaceFile(path: string, source: Source, signal: AbortSignal | undefined): Promise<Measure> {
  const part = path + PART_SUFFIX;
  try {
    signal?.throwIfAborted();
    const file = await create(part);
    let measure: Measure;
    try {
      measure = await drain(source, (chunks) => writeFile(file, chunks), signal);
      await file.sync();
    } finally {
      await file.close();
    }
    signal?.throwIfAborted();
    await rename(part, path);
    return measure;
  } catch (error) {
    // First: what failed the writing may fail the cleaning too.
    if (source instanceof Readable) source.destroy();
    await rm(part, { force: true });
    await removeEmptyFolder(dirname(part));
    throw error;
  }
}

async function sweep(base: string, prefix: string, liveAmong: LiveAmong, before: Date): Promise<number> {
  let removed = 0;
  let found: { path: string; key: string }[] = [];
  const removeDead = async () => {
    const live = await liveAmong(found.map(({ key }) => key));
    for (const { path, key } of found) {
      if (live.has(key)) continue;
      await unlessMissing(unlink(path));
      removed++;
    }
    found = [];
  };
  for await (const { path, entry } of walk(base, prefix)) {
    const stats = await unlessMissing(stat(path));
    if (!stats || stats.mtime >= before) continue;
    if (entry.isDirectory()) {
      await removeEmptyFolder(path);
      continue;
    }
    const name = relative(base, path).split(sep).join("/");
    const key = name.endsWith(PART_SUFFIX) ? name.slice(0, -PART_SUFFIX.length) : name;
    if (isArtifactKey(key)) found.push({ path, key });
    if (found.length >= SWEEP_BATCH) await removeDead();
  }
  if (found.length > 0) await removeDead();
  return removed;
}

/** Opens a part for writing. Others may remove the still empty folder in between, so one loss is made good. */
async function create(part: string): Promise<FileHandle> {
  await mkdir(dirname(part), { recursive: true });
  const file = await unlessMissing(open(part, "w", 0o640));
  if (file) return file;
  await mkdir(dirname(part), { recursive: true });
  return open(part, "w", 0o640);
}

/** Makes the names in a folder durable. */
async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open a folder as a file.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A call may join a round that has not begun yet: everybody who waits for the same thing shares one. */
function shared(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  return () => {
    next ??= running.then(() => {
      const round = work();
      running = round.catch(() => {});
      next = undefined;
      return round;
    });
    return next;
  };
}

async function removeEmptyFolder(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!MISSING.has(errorCode(error)) && !["ENOTEMPTY", "EEXIST"].includes(errorCode(error))) throw error;
  }
}

/** Files and folders below `folder`, a folder after its content; at the top those named so. Symbolic links are neither. */
async function* walk(folder: string, prefix = ""): AsyncGenerator<{ path: string; entry: Dirent }> {
  const entries = await unlessMissing(opendir(folder));
  if (!entries) return;
  for await (const entry of entries) {
    if (!entry.name.startsWith(prefix)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    if (entry.isDirectory() || entry.isFile()) yield { path, entry };
  }
}
