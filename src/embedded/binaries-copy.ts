import { chmod, copyFile, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { EmbeddedPostgresError, errorCode } from "./embedded-error.js";

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

interface Part {
  path: string;
  folder: boolean;
  size: number;
}

/**
 * Keeps a copy of the folder `native` in `place` and returns its path. The copy is ours and nobody else can write to it,
 * so that root never runs somebody's program. It appears by a rename, so that concurrent starts and a crash in the
 * middle never leave half of one; one that a cleaner of temporary files has nibbled at is replaced.
 */
export async function keepCopy(
  native: string,
  place: string,
  complete: (native: string) => Promise<boolean>,
): Promise<string> {
  await preparePlace(place);
  const copy = join(place, `postgres-${await packageVersion(native)}-${process.platform}-${process.arch}`);
  const parts = await listParts(native);
  if (await isTrustworthy(copy, parts)) return copy;

  const draft = await mkdtemp(`${copy}.draft-`);
  try {
    await copyParts(native, draft, parts);
    await complete(draft);
    await chmod(draft, 0o755);
    await moveIntoPlace(draft, copy, parts);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return copy;
}

async function preparePlace(place: string): Promise<void> {
  const made = await mkdir(place, { recursive: true, mode: 0o755 });
  if (made !== undefined) await chmod(place, 0o755);
  const { mode } = await lstat(place);
  if (mode & WRITABLE_BY_OTHERS && !(mode & STICKY))
    throw new EmbeddedPostgresError(`${place} can be written to by others`);
}

async function packageVersion(native: string): Promise<string> {
  const text = await readFile(join(dirname(native), "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** What the server needs. Links are made anew in the copy; archives are for compilers. */
async function listParts(native: string): Promise<Part[]> {
  const entries = await readdir(native, { recursive: true, withFileTypes: true });
  const needed = entries.filter(
    (entry) => entry.isDirectory() || (entry.isFile() && extname(entry.name) !== ".a"),
  );
  return Promise.all(
    needed.map(async (entry) => {
      const full = join(entry.parentPath, entry.name);
      const folder = entry.isDirectory();
      return { path: relative(native, full), folder, size: folder ? 0 : (await lstat(full)).size };
    }),
  );
}

async function isTrustworthy(copy: string, parts: Part[]): Promise<boolean> {
  const top = await lstat(copy).catch(() => undefined);
  if (!top?.isDirectory() || top.uid !== process.getuid?.() || top.mode & WRITABLE_BY_OTHERS) return false;
  const intact = await Promise.all(
    parts.map(async ({ path, folder, size }) => {
      const found = await lstat(join(copy, path)).catch(() => undefined);
      return folder ? found?.isDirectory() : found?.isFile() && found.size === size;
    }),
  );
  return intact.every(Boolean);
}

async function copyParts(from: string, to: string, parts: Part[]): Promise<void> {
  // Modes are set, not inherited: a strict umask at install time would lock the server's user out.
  for (const { path } of parts.filter((part) => part.folder)) {
    await mkdir(join(to, path), { recursive: true });
    await chmod(join(to, path), 0o755);
  }
  for (const { path } of parts.filter((part) => !part.folder)) {
    await copyFile(join(from, path), join(to, path));
    await chmod(join(to, path), path.startsWith("bin/") ? 0o755 : 0o644);
  }
}

async function moveIntoPlace(draft: string, copy: string, parts: Part[]): Promise<void> {
  try {
    await rename(draft, copy);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(errorCode(error) ?? "")) throw error;
    // Another start was faster.
    if (await isTrustworthy(copy, parts)) return;
    const discarded = `${draft}-replaced`;
    await rename(copy, discarded);
    await rename(draft, copy);
    await rm(discarded, { recursive: true, force: true });
  }
}
