import { randomInt } from "node:crypto";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { EmbeddedPostgresError, errorCode } from "./embedded-error.js";
import { processIdentity } from "./process-identity.js";

const PREFIX = "postgres.lock-";
/** Two services that start in the same instant both step back; one of them gets in at a later try. */
const TRIES = 4;

/**
 * Makes this process the only user of the embedded PostgreSQL in `dataDir` and returns how to end that. Refuses with the
 * pid of the user it has.
 *
 * NOTE: each claimant makes a file named by its pid and identity, then looks for others. A dead process never comes
 * back under the same name, so removing its file cannot hit a living lock, which is what a single lock file that
 * changes hands cannot promise.
 */
export async function lockFolder(dataDir: string): Promise<() => Promise<void>> {
  const own = `${PREFIX}${process.pid}-${await processIdentity(process.pid)}`;
  const release = () => rm(join(dataDir, own), { force: true });
  for (let tries = 1; ; tries++) {
    await claim(dataDir, own);
    const holder = await findOtherHolder(dataDir, own);
    if (holder === undefined) return release;
    await release();
    if (tries === TRIES) throw inUse(dataDir, holder);
    await delay(randomInt(10, 60));
  }
}

async function claim(dataDir: string, own: string): Promise<void> {
  try {
    await writeFile(join(dataDir, own), "", { flag: "wx", mode: 0o600 });
  } catch (error) {
    if (errorCode(error) === "EEXIST") throw inUse(dataDir, process.pid);
    throw error;
  }
}

async function findOtherHolder(dataDir: string, own: string): Promise<number | undefined> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(PREFIX) || name === own) continue;
    const [pid = "", identity] = name.slice(PREFIX.length).split("-");
    if ((await processIdentity(Number(pid))) === identity) return Number(pid);
    await rm(join(dataDir, name), { force: true });
  }
  return undefined;
}

const inUse = (dataDir: string, pid: number) =>
  new EmbeddedPostgresError(
    `The embedded PostgreSQL in ${dataDir} is already in use by process ${pid}. ` +
      "Stop that process first, or give this one its own DATA_DIR or a DATABASE_URL.",
  );
