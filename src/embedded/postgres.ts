import { mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import pg from "pg";
import type { Log } from "../log.js";
import { type BinariesSource, installedBinaries, prepareBinaries } from "./binaries.js";
import { clusterFolder, keepCluster, readPassword } from "./cluster.js";
import { errorCode } from "./embedded-error.js";
import { lockFolder } from "./folder-lock.js";
import { isServerOf } from "./process-identity.js";
import { type Server, serverUrl, startServer } from "./server.js";
import { chooseServerUser } from "./server-user.js";
import { stopServer, untilGone } from "./stop-server.js";

export { EmbeddedPostgresError } from "./embedded-error.js";

const DATABASE = "analytics";

export interface EmbeddedPostgres {
  /** With user and password, for the database `analytics`. */
  url: string;
  port: number;
  pid: number;
  /** Settles when the server is gone, with how: after `stop()`, or because something else ended it. */
  exited: Promise<string>;
  /** Ends sessions, stops the server and waits for it. Safe to call twice. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  dataDir: string;
  log: Log;
  /** Server settings over our own, such as `{ fsync: "off" }` for data that may be lost. */
  settings?: Record<string, string>;
  /** Tried first; taken ports are avoided. */
  port?: number;
  /** Other programs than those of the installed package. */
  binaries?: BinariesSource;
}

/**
 * Starts PostgreSQL on the cluster in `${dataDir}/postgres`, on 127.0.0.1 only; makes the cluster, a password and the
 * database `analytics` the first time. A server that a killed process left behind is stopped first.
 * Throws `EmbeddedPostgresError` with what to do about it.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = resolve(options.dataDir);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const unlock = await lockFolder(dataDir);
  try {
    const server = await startLocked({ ...options, dataDir });
    let stopping: Promise<void> | undefined;
    return {
      url: server.url(DATABASE),
      port: server.port,
      pid: server.pid,
      exited: server.exited,
      stop: () => (stopping ??= server.stop().finally(unlock)),
    };
  } catch (error) {
    await unlock();
    throw error;
  }
}

/** The URL of the server that runs on `dataDir` right now, or undefined. For a tool beside a running service. */
export async function findEmbeddedPostgres(dataDir: string): Promise<string | undefined> {
  const folder = resolve(dataDir);
  const cluster = clusterFolder(folder);
  const found = await readPidFile(cluster);
  if (!found?.port || !(await isServerOf(found.pid, cluster))) return undefined;
  const password = await readPassword(folder);
  return password && serverUrl(found.port, password, DATABASE);
}

async function startLocked(options: EmbeddedPostgresOptions): Promise<Server> {
  const { dataDir, log, settings = {} } = options;
  const cluster = clusterFolder(dataDir);
  const user = await chooseServerUser(cluster);
  const binaries = await prepareBinaries(options.binaries ?? installedBinaries(dataDir), user);
  await clearLeftovers(cluster, log);
  const durable = settings.fsync !== "off";
  const password = await keepCluster({ dataDir, binaries, user, durable, log });
  const server = await startServer({
    postgres: binaries.postgres,
    cluster,
    user,
    password,
    logFile: join(dataDir, "postgres.log"),
    settings,
    port: options.port,
  });
  try {
    await keepDatabase(server.url("postgres"));
  } catch (error) {
    await server.stop();
    throw error;
  }
  log.debug("embedded PostgreSQL is up", { port: server.port, serverPid: server.pid });
  return server;
}

/**
 * The pid file outlives a kill. PostgreSQL itself refuses to start while the pid in it belongs to anybody of the same
 * user, so we look closer: our own server of an earlier life is stopped, a stranger's pid is no reason to wait.
 */
async function clearLeftovers(cluster: string, log: Log): Promise<void> {
  const left = await readPidFile(cluster);
  if (left === undefined) return;
  const running = await isServerOf(left.pid, cluster);
  if (running) {
    log.warn("stopping the PostgreSQL that an earlier process left running", { serverPid: left.pid });
    await stopServer(left.pid, untilGone(left.pid));
  }
  // Unknown: PostgreSQL decides.
  if (running !== undefined) await rm(join(cluster, "postmaster.pid"), { force: true });
}

/** Lines: pid, data folder, start time, port … A server that is still starting has not written all of them. */
async function readPidFile(cluster: string): Promise<{ pid: number; port: number | undefined } | undefined> {
  try {
    const [pid, , , port] = (await readFile(join(cluster, "postmaster.pid"), "utf8")).split("\n").map(Number);
    return { pid: pid || 0, port: port || undefined };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function keepDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query("select from pg_database where datname = $1", [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}
