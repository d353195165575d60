import { randomBytes } from "node:crypto";
import {
  chmod,
  chown,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../log.js";
import type { Binaries } from "./binaries.js";
import { EmbeddedPostgresError, errorCode } from "./embedded-error.js";
import { runAs } from "./run-as.js";
import type { ServerUser } from "./server-user.js";

export const SUPERUSER = "analytics";
const DRAFT_PREFIX = "postgres.init-";
const passwordFile = (dataDir: string) => join(dataDir, "postgres-password");
export const clusterFolder = (dataDir: string) => join(dataDir, "postgres");

export interface ClusterOptions {
  dataDir: string;
  binaries: Binaries;
  user: ServerUser;
  /** False leaves the files to the system's own pace: for data that may be lost. */
  durable: boolean;
  log: Log;
}

/** Makes the cluster's files unless they are there, and returns the superuser's password. */
export async function keepCluster(options: ClusterOptions): Promise<string> {
  const { dataDir, log } = options;
  const cluster = clusterFolder(dataDir);
  for (const name of await readdir(dataDir))
    if (name.startsWith(DRAFT_PREFIX)) await rm(join(dataDir, name), { recursive: true, force: true });

  if (await isCluster(cluster)) {
    const password = await readPassword(dataDir);
    if (password !== undefined) return password;
    throw new EmbeddedPostgresError(
      `${passwordFile(dataDir)} is missing, without which nobody can log in to the data in ${cluster}: ` +
        "restore that file, or move the data away to start anew.",
    );
  }
  await setAside(cluster, log);
  const password = await keepPassword(dataDir, options.user);
  await initialize(options, cluster);
  return password;
}

/** The superuser's password, or undefined when there is none yet. */
export async function readPassword(dataDir: string): Promise<string | undefined> {
  try {
    return (await readFile(passwordFile(dataDir), "utf8")).trim() || undefined;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function isCluster(folder: string): Promise<boolean> {
  const found = await Promise.all(
    ["PG_VERSION", "global/pg_control"].map((file) =>
      stat(join(folder, file)).then(
        ({ size }) => size > 0,
        (error) => {
          if (errorCode(error) === "ENOENT") return false;
          throw error;
        },
      ),
    ),
  );
  return found.every(Boolean);
}

/** A folder that never became a cluster is in the way, but deleting what we did not make is not for us to decide. */
async function setAside(folder: string, log: Log): Promise<void> {
  const aside = `${folder}.unfinished-${Date.now()}`;
  try {
    await rename(folder, aside);
    log.warn("the data folder held no complete cluster and was set aside", { folder, aside });
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}

async function keepPassword(dataDir: string, user: ServerUser): Promise<string> {
  const file = passwordFile(dataDir);
  const password = (await readPassword(dataDir)) ?? randomBytes(24).toString("base64url");
  const draft = `${file}.draft`;
  await writeFile(draft, `${password}\n`, { mode: 0o600, flush: true });
  await chmod(draft, 0o600);
  // initdb reads it as the server's user, who owns the data anyway.
  if (user.uid !== undefined) await chown(draft, user.uid, user.gid);
  await rename(draft, file);
  return password;
}

async function initialize(options: ClusterOptions, cluster: string): Promise<void> {
  const { dataDir, binaries, user, durable } = options;
  // The cluster gets its name when it is whole, so a crash at any point leaves a draft and no half cluster.
  const draft = await mkdtemp(join(dataDir, DRAFT_PREFIX));
  if (user.uid !== undefined) await chown(draft, user.uid, user.gid);
  const password = await open(passwordFile(dataDir), "r");
  try {
    const args = [
      `--username=${SUPERUSER}`,
      "--pwfile=/dev/stdin",
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      "--no-instructions",
      // The rename below must not reach the disk before the files: a durable cluster is synced first (0.15 s).
      ...(durable ? [] : ["--no-sync"]),
    ];
    await runInitdb(binaries.initdb, draft, args, user, password.fd);
  } finally {
    await password.close();
  }
  await rename(draft, cluster);
  if (durable) await syncFolder(dataDir);
}

async function runInitdb(initdb: string, folder: string, args: string[], user: ServerUser, stdin: number) {
  const child = runAs(user, initdb, folder, args, [stdin, "pipe", "pipe"]);
  let output = "";
  child.stdout?.on("data", (chunk) => (output += chunk));
  child.stderr?.on("data", (chunk) => (output += chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new EmbeddedPostgresError(`initdb failed (${code ?? "killed"}):\n${output.trim()}`);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
