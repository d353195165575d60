import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, lstatSync, readFileSync } from "node:fs";
import { cp, mkdir, readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type BinariesSource, installedBinaries } from "../../src/embedded/binaries.js";
import { startEmbeddedPostgres } from "../../src/embedded/postgres.js";
import { type Compiled, compile } from "../support/compile.js";
import { fast, query, serverProcess, silent, stopProcess, temporaryFolder } from "./support.js";

const root = process.getuid?.() === 0;
if (!root) console.log("not root: the tests of how root lends the server to another user are skipped");

// Each test makes at least one cluster.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let compiled: Compiled;
beforeAll(async () => {
  compiled = await compile(["embedded/postgres.ts"]);
});
afterAll(() => compiled?.remove());

/** A folder that only its owner may enter, with a copy of the programs as a package manager without scripts leaves it. */
async function hiddenInstallation(): Promise<{ hidden: string; binaries: BinariesSource }> {
  const folder = await temporaryFolder();
  const hidden = join(folder, "hidden");
  await mkdir(hidden, { mode: 0o700 });
  const { native } = installedBinaries(hidden);
  await cp(join(native, "../package.json"), join(hidden, "package.json"));
  await cp(native, join(hidden, "native"), {
    recursive: true,
    filter: (path) => !lstatSync(path).isSymbolicLink(),
  });
  const place = join(folder, "place");
  return { hidden, binaries: { native: join(hidden, "native"), copyTo: [place] } };
}

async function startsAndAnswers(dataDir: string, binaries: BinariesSource): Promise<number> {
  const server = await startEmbeddedPostgres({ dataDir, log: silent, settings: fast, binaries });
  try {
    expect(await query(server.url, "select 1 as one")).toEqual([{ one: 1 }]);
    return server.pid;
  } finally {
    await server.stop();
  }
}

describe.runIf(root)("as root", () => {
  test("it works below folders that only root may enter, from a copy that only root can change", async () => {
    const { hidden, binaries } = await hiddenInstallation();
    const dataDir = join(hidden, "project/.data");
    // Two services of one machine may need the copy at the same moment.
    await Promise.all([
      startsAndAnswers(dataDir, binaries),
      startsAndAnswers(join(hidden, "other/.data"), binaries),
    ]);
    expect((await stat(join(dataDir, "postgres"))).uid).not.toBe(0);
    expect((await stat(dataDir)).mode & 0o077).toBe(0);

    const [place = ""] = binaries.copyTo;
    const copies = await readdir(place);
    expect(copies).toHaveLength(1);
    const copy = await stat(join(place, copies[0] ?? ""));
    expect([copy.uid, copy.mode & 0o777]).toEqual([0, 0o755]);

    // The second start is a restart of the data by the same user, from the same copy.
    await startsAndAnswers(dataDir, binaries);
    expect((await stat(join(place, copies[0] ?? ""))).ino).toBe(copy.ino);
  });

  test("a copy that is damaged, or that somebody else put there, is replaced", async () => {
    const { hidden, binaries } = await hiddenInstallation();
    const dataDir = join(hidden, ".data");
    await startsAndAnswers(dataDir, binaries);
    const [place = ""] = binaries.copyTo;
    const [name = ""] = await readdir(place);
    const copy = join(place, name);

    await truncate(join(copy, "share/postgresql/postgres.bki"), 10);
    await startsAndAnswers(dataDir, binaries);
    expect((await stat(join(copy, "share/postgresql/postgres.bki"))).size).toBeGreaterThan(10);

    chownSync(copy, 65_534, 65_534);
    await startsAndAnswers(dataDir, binaries);
    expect((await stat(copy)).uid).toBe(0);

    chmodSync(copy, 0o777);
    await startsAndAnswers(dataDir, binaries);
    expect((await stat(copy)).mode & 0o777).toBe(0o755);
    expect(await readdir(place)).toEqual([name]);
  });

  test("data that root has copied is given back to the server's user", async () => {
    const folder = await temporaryFolder();
    const binaries = installedBinaries(folder);
    await startsAndAnswers(join(folder, "data"), binaries);
    await cp(join(folder, "data"), join(folder, "restored"), { recursive: true });
    expect((await stat(join(folder, "restored/postgres"))).uid).toBe(0);
    await startsAndAnswers(join(folder, "restored"), binaries);
  });

  test("a normal user runs the server as itself", async (context) => {
    const nobody = { uid: 65_534, gid: 65_534 };
    const canRead = () => execFileSync(process.execPath, ["-e", "0"], { ...nobody, cwd: compiled.dist });
    try {
      canRead();
      execFileSync("/bin/sh", ["-c", "cat ../node_modules/pg/package.json"], {
        ...nobody,
        cwd: compiled.dist,
      });
    } catch {
      context.skip("a normal user cannot read this checkout");
    }
    const folder = await temporaryFolder();
    const dataDir = join(folder, "home/data");
    await mkdir(join(folder, "home"), { mode: 0o700 });
    chownSync(join(folder, "home"), nobody.uid, nobody.gid);
    const process1 = await serverProcess(compiled.dist, dataDir, nobody);
    expect(process1.answer.error).toBeUndefined();
    expect(await query(process1.answer.url, "select 1 as one")).toEqual([{ one: 1 }]);
    expect((await stat(join(dataDir, "postgres"))).uid).toBe(nobody.uid);
    if (process.platform === "linux")
      expect(readFileSync(`/proc/${process1.answer.pid}/status`, "utf8")).toMatch(/^Uid:\t65534\t/m);
    await stopProcess(process1);

    await rm(join(dataDir, "postgres.log"));
    chownSync(join(dataDir, "postgres"), 1, 1);
    const refused = await serverProcess(compiled.dist, dataDir, nobody);
    expect(refused.answer.error).toContain("belongs to user id 1");
  });
});
