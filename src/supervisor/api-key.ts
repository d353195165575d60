import { randomBytes, randomUUID } from "node:crypto";
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const PREFIX = "wa_";
const RANDOM_BYTES = 32;

/** The admin key of an installation that was given none: made once, kept in `${dataDir}/api-key` for its owner's eyes. */
export async function keepApiKey(dataDir: string): Promise<string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const file = join(dataDir, "api-key");
  const kept = await readKey(file);
  if (kept !== undefined) return kept;

  const draft = `${file}.${randomUUID()}`;
  const text = `${PREFIX}${randomBytes(RANDOM_BYTES).toString("base64url")}\n`;
  await writeFile(draft, text, { mode: 0o600, flush: true });
  try {
    // A link appears whole and never replaces the key of a process that was faster.
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(draft);
  }
  const key = await readKey(file);
  if (key === undefined) throw new Error(`${file} holds no key: delete it, and a new one is made`);
  return key;
}

async function readKey(file: string): Promise<string | undefined> {
  try {
    return (await readFile(file, "utf8")).trim() || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
