import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { environmentWithoutSettings } from "../dist/config.js";
import { startEmbeddedPostgres } from "../dist/embedded/postgres.js";
import { createLog } from "../dist/log.js";
import { migrate } from "../dist/migrate.js";
import { apiNodeOptions } from "../dist/supervisor/supervise.js";

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

/** An embedded server with default settings and the API process alone, so that nothing folds meanwhile. */
export async function startApiOnly(dataDir) {
  const log = createLog({ level: "warn", process: "bench" });
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  const stopPostgres = undoable(postgres.stop);
  try {
    await migrate(postgres.url, log);
    const api = await startProcess("api/main.js", dataDir, { DATABASE_URL: postgres.url }, apiNodeOptions);
    return {
      ...api,
      databaseUrl: postgres.url,
      async stop() {
        await api.stop();
        await stopPostgres();
      },
    };
  } catch (error) {
    await stopPostgres();
    throw error;
  }
}

/** The whole service as `npm start` runs it. */
export const startService = (dataDir) => startProcess("start.js", dataDir, {});

async function startProcess(file, dataDir, settings, nodeOptions = []) {
  const log = await open(join(dataDir, "service.log"), "w");
  const child = fork(fileURLToPath(new URL(`../dist/${file}`, import.meta.url)), [], {
    execArgv: [...nodeOptions],
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdio: ["ignore", log.fd, log.fd, "ipc"],
    env: {
      ...environmentWithoutSettings(),
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
    return { url: await Promise.race([ready, failed, late]), apiKey: API_KEY, pid: child.pid, stop };
  } catch (error) {
    if (child.exitCode === null) await stop();
    throw error;
  } finally {
    failed.catch(() => {});
    late.catch(() => {});
  }
}

/** Posts bytes that are ready and returns the parsed answer. Cheap, to leave the machine to the service. */
export async function post({ url, apiKey }, body, contentType, agent) {
  const sent = request(new URL("/analytics/events", url), {
    method: "POST",
    agent,
    headers: {
      authorization: `Bearer ${apiKey}`,
      "content-type": contentType,
      "content-length": body.length,
    },
  });
  sent.end(body);
  const [response] = await once(sent, "response");
  const chunks = await response.toArray();
  const text = Buffer.concat(chunks).toString();
  if (response.statusCode !== 200) throw new Error(`POST /analytics/events: ${response.statusCode} ${text}`);
  return JSON.parse(text);
}
