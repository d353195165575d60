import { fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { environmentWithoutSettings } from "../dist/config.js";
import { startEmbeddedPostgres } from "../dist/embedded/postgres.js";
import { createLog } from "../dist/log.js";
import { migrate } from "../dist/migrate.js";
import { choosePort } from "../dist/supervisor/port.js";
import { apiNodeOptions, workerNodeOptions } from "../dist/supervisor/supervise.js";

export const ROUNDS = 5;
const API_KEY = "bench-key-of-a-temporary-server";
const START_DEADLINE_MS = 120_000;

/** What to undo, latest first, when a signal ends the run early. */
const outstanding = new Set();

function undoable(undo) {
  const undoOnce = async () => {
    if (outstanding.delete(undoOnce)) await undo();
  };
  outstanding.add(undoOnce);
  return undoOnce;
}

for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, async () => {
    for (const undo of [...outstanding].reverse()) await undo().catch(console.error);
    process.exit(1);
  });

export const median = (values) => percentile(values, 0.5);

/** Nearest rank. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

const shown = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** A figure that has a bar. `unit` is `ratio` for figures without one. `atMost`: less is better. */
export function printBar(name, value, { unit = "ratio", bar, atMost = false }) {
  const ok = atMost ? value <= bar : value >= bar;
  console.log(`BAR ${name} ${shown(value)} ${unit} bar ${bar} ${ok ? "ok" : "short"}`);
}

/** A figure without a bar, to read the others by. */
export function printFigure(name, value, unit) {
  console.log(`FIGURE ${name} ${shown(value)} ${unit}`);
}

/** Of the processor, that a process has used so far; NaN where the system does not tell. */
export function cpuSeconds(pid) {
  const TICKS_PER_SECOND = 100;
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return Number.NaN;
  const fields = readFileSync(path, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

export async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), "analytics-bench-"));
  return { path, remove: undoable(() => rm(path, { recursive: true, force: true })) };
}

/** Seconds that `work` takes. */
export async function timed(work) {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** A migrated embedded server with default settings, for processes to be started on. */
export async function startDatabase(dataDir) {
  const log = createLog({ level: "warn", process: "bench" });
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const stop = undoable(postgres.stop);
  try {
    await migrate(postgres.url, log);
    return { url: postgres.url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The API process alone on a database of its own, so that nothing folds meanwhile. */
export async function startApiOnly(dataDir) {
  const database = await startDatabase(dataDir);
  try {
    const api = await startApi(dataDir, { DATABASE_URL: database.url });
    return {
      ...api,
      databaseUrl: database.url,
      async stop() {
        await api.stop();
        await database.stop();
      },
    };
  } catch (error) {
    await database.stop();
    throw error;
  }
}

export const startApi = (dataDir, settings) => startProcess("api/main.js", dataDir, settings, apiNodeOptions);
export const startWorker = (dataDir, settings) =>
  startProcess("workers/main.js", dataDir, settings, workerNodeOptions);
export const startScheduler = (dataDir, settings) => startProcess("workers/scheduler.js", dataDir, settings);

/** The whole service as `npm start` runs it. */
export const startService = (dataDir, settings = {}) => startProcess("start.js", dataDir, settings);

/** A Redis of its own as we recommend it: append-only file, no eviction. Undefined when there is no redis-server here. */
export async function startRedis(dataDir) {
  if (!isInstalled("redis-server")) return undefined;
  const port = await choosePort("127.0.0.1", 0);
  const settings = {
    port,
    bind: "127.0.0.1",
    dir: dataDir,
    appendonly: "yes",
    "maxmemory-policy": "noeviction",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = spawn("redis-server", options, { stdio: "ignore" });
  const ended = once(server, "exit");
  const stop = undoable(async () => {
    server.kill("SIGTERM");
    await ended;
  });
  return { url: `redis://127.0.0.1:${port}`, stop };
}

export const isInstalled = (program) => spawnSync(program, ["--version"]).status === 0;

/** A call that must succeed; the answer's JSON. */
export async function callJson(service, method, path, body, agent) {
  const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(body));
  return JSON.parse(await send(service, { method, path, agent }, bytes, "application/json"));
}

/** Reads an answer to its last byte and leaves it unread. */
export async function fetchBytes(service, path, agent) {
  return send(service, { method: "GET", path, agent }, Buffer.alloc(0), "application/json");
}

async function startProcess(file, dataDir, settings, nodeOptions = []) {
  const log = await open(join(dataDir, "service.log"), "a");
  const child = fork(fileURLToPath(new URL(`../dist/${file}`, import.meta.url)), [], {
    execArgv: [...nodeOptions],
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdio: ["ignore", log.fd, log.fd, "ipc"],
    env: {
      ...environmentWithoutSettings(),
      // As the service's own processes have it.
      MALLOC_ARENA_MAX: "2",
      DATA_DIR: dataDir,
      CONFIG_DIR: fileURLToPath(new URL("config", import.meta.url)),
      HOST: "127.0.0.1",
      PORT: "0",
      LOG_LEVEL: "warn",
      API_KEY,
      ...settings,
    },
  });
  await log.close();
  const ended = once(child, "exit");
  const stop = undoable(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const ready = new Promise((resolve) => {
    child.on("message", (message) => message.type === "ready" && resolve(message.url));
  });
  const failed = ended.then(() => {
    throw new Error(`${file} ended before it was ready`);
  });
  const late = once(AbortSignal.timeout(START_DEADLINE_MS), "abort").then(() => {
    throw new Error(`${file} was not ready in time`);
  });
  try {
    const url = await Promise.race([ready, failed, late]);
    return { url, apiKey: API_KEY, pid: child.pid, kill: (signal) => child.kill(signal), stop };
  } catch (error) {
    if (child.exitCode === null) await stop();
    throw error;
  } finally {
    failed.catch(() => {});
    late.catch(() => {});
  }
}

/** Posts bytes that are ready and returns the parsed answer. */
export const post = async (service, body, contentType, agent) =>
  JSON.parse(await send(service, { method: "POST", path: "/analytics/events", agent }, body, contentType));

/** One request, at little cost, to leave the machine to the service. */
async function send({ url, apiKey }, { method, path, agent }, body, contentType) {
  const sent = request(new URL(path, url), {
    method,
    agent,
    headers: {
      authorization: `Bearer ${apiKey}`,
      "content-type": contentType,
      "content-length": body.length,
    },
  });
  sent.end(body);
  const [response] = await once(sent, "response");
  const bytes = Buffer.concat(await response.toArray());
  if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode} ${bytes}`);
  return bytes;
}
