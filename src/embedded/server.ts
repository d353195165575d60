import { once } from "node:events";
import { open, rename, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { SUPERUSER } from "./cluster.js";
import { EmbeddedPostgresError, errorCode } from "./embedded-error.js";
import { runAs } from "./run-as.js";
import type { ServerUser } from "./server-user.js";
import { stopServer } from "./stop-server.js";

/** Recovery after a crash may have gigabytes of log to replay. */
const READY_TIMEOUT_MS = 120_000;
const RETRY_MS = 20;
/** Bounds the server's log: at a start, a larger one becomes `postgres.log.1`. */
const LOG_BYTES = 5_000_000;
const LOG_TAIL_BYTES = 4_000;
const START_TRIES = 8;
/** The sessions of a server that was killed need a moment to notice it. */
const HEIRS_MS = 250;

/** For a small machine. Durability is not for sale: fsync and synchronous_commit stay on, as they are by default. */
export const SETTINGS = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  password_encryption: "scram-sha-256",
  // Those of `npm start` by default, with an API process that is being replaced: docs/operations.md.
  max_connections: "300",
  shared_buffers: "256MB",
  maintenance_work_mem: "128MB",
  max_wal_size: "2GB",
  random_page_cost: "1.1",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
  // Keeps the values of rows (phone numbers) out of the log.
  log_error_verbosity: "terse",
};

export interface ServerOptions {
  postgres: string;
  cluster: string;
  user: ServerUser;
  password: string;
  logFile: string;
  settings: Record<string, string>;
  /** The port to try first; a free one otherwise. */
  port: number | undefined;
}

export interface Server {
  url: (database: string) => string;
  port: number;
  pid: number;
  exited: Promise<string>;
  stop: () => Promise<void>;
}

export const serverUrl = (port: number, password: string, database: string) =>
  `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`;

/** Starts the server and waits until it answers. */
export async function startServer(options: ServerOptions): Promise<Server> {
  await rotate(options.logFile);
  let port = options.port ?? (await freePort());
  for (let tries = 1; ; tries++) {
    const logStart = await sizeOf(options.logFile);
    const server = await launch(options, port);
    try {
      await ready(server, options.password);
      return server;
    } catch (error) {
      await server.stop();
      const written = await readTail(options.logFile, logStart);
      const obstacle = passingObstacle(written);
      if (obstacle === undefined || tries === START_TRIES)
        throw new EmbeddedPostgresError(
          `The embedded PostgreSQL did not start: ${(error as Error).message}\n` +
            `The end of ${options.logFile}:\n${written || "(nothing was written)"}`,
          { cause: error },
        );
      if (obstacle === "port taken") port = await freePort();
      else await delay(HEIRS_MS);
    }
  }
}

async function launch(options: ServerOptions, port: number): Promise<Server> {
  const log = await open(options.logFile, "a", 0o600);
  const settings = { ...SETTINGS, ...options.settings, port: String(port) };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  try {
    const child = runAs(options.user, options.postgres, options.cluster, args, ["ignore", log.fd, log.fd]);
    const exited = once(child, "exit").then(
      ([code, signal]) => `it exited (${signal ?? code})`,
      (error: Error) => error.message,
    );
    await once(child, "spawn");
    const pid = child.pid!;
    const url = (database: string) => serverUrl(port, options.password, database);
    return { url, port, pid, exited, stop: () => stopServer(pid, exited) };
  } finally {
    await log.close();
  }
}

async function ready(server: Server, password: string): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  const exited = server.exited.then((how) => {
    throw new Error(how);
  });
  for (;;) {
    const failure = await Promise.race([tryToConnect(serverUrl(server.port, password, "postgres")), exited]);
    if (failure === undefined) return;
    const { code } = failure as { code?: string };
    if (code === "28P01") throw new Error("the password kept beside the data is not the server's");
    if (Date.now() > deadline) throw failure;
    await Promise.race([delay(RETRY_MS), exited]);
  }
}

async function tryToConnect(url: string): Promise<Error | undefined> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // A server that dies under us is reported by its exit.
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("select 1");
    return undefined;
  } catch (error) {
    return error as Error;
  } finally {
    await client.end().catch(() => {});
  }
}

/** The text of the server's log is the only place that tells these cases apart. */
function passingObstacle(written: string): "port taken" | "heirs" | undefined {
  if (/could not (bind|create any TCP\/IP sockets)/.test(written)) return "port taken";
  if (/shared memory block .* is still in use/.test(written)) return "heirs";
  return undefined;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    (error) => {
      if (errorCode(error) === "ENOENT") return 0;
      throw error;
    },
  );
}

async function rotate(logFile: string): Promise<void> {
  if ((await sizeOf(logFile)) <= LOG_BYTES) return;
  await rm(`${logFile}.1`, { force: true });
  await rename(logFile, `${logFile}.1`);
}

async function readTail(file: string, from: number): Promise<string> {
  const size = await sizeOf(file);
  const start = Math.max(from, size - LOG_TAIL_BYTES);
  const handle = await open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size - start), 0, size - start, start);
    return buffer.toString("utf8", 0, bytesRead).trim();
  } finally {
    await handle.close();
  }
}
