import { fork } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { environmentWithoutSettings } from "../../config.js";
import { startDeadline } from "../../deadline.js";

const START_DEADLINE_MS = 120_000;
const STOP_DEADLINE_MS = 30_000;
const SUPERVISOR = fileURLToPath(new URL("../../start.js", import.meta.url));
const PROJECT = fileURLToPath(new URL("../../..", import.meta.url));

export interface Service {
  url: string;
  apiKey: string;
  /** Aborts when the service ends without having been asked to. */
  died: AbortSignal;
  stop(): Promise<void>;
}

interface ReadyMessage {
  type: "ready";
  url: string;
  apiKey: string;
}

/**
 * Starts the whole service the way `npm start` does, but with its own data directory, secrets and port, and blind to the
 * caller's settings: a demo must not write into anybody's database. What the service says goes to `logFile`.
 */
export async function startService(options: {
  dataDir: string;
  logFile: string;
  appSecret: string;
  verifyToken: string;
  signal: AbortSignal;
}): Promise<Service> {
  const log = await open(options.logFile, "w");
  const child = fork(SUPERVISOR, [], {
    cwd: PROJECT,
    stdio: ["ignore", log.fd, log.fd, "ipc"],
    env: {
      ...environmentWithoutSettings(),
      DATA_DIR: options.dataDir,
      HOST: "127.0.0.1",
      PORT: "0",
      LOG_LEVEL: "warn",
      WORKER_COUNT: "2",
      WHATSAPP_APP_SECRET: options.appSecret,
      WHATSAPP_VERIFY_TOKEN: options.verifyToken,
    },
  });
  const ended = once(child, "exit");
  await log.close();

  const death = new AbortController();
  let stopping = false;
  child.once("exit", (code, signal) => {
    if (stopping) return;
    death.abort(
      new Error(`the service ended by itself (${signal ?? `exit code ${code}`}); see ${options.logFile}`),
    );
  });
  const stop = async () => {
    stopping = true;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const force = setTimeout(() => child.kill("SIGKILL"), STOP_DEADLINE_MS);
    child.kill("SIGTERM");
    await ended;
    clearTimeout(force);
  };

  try {
    using deadline = startDeadline(START_DEADLINE_MS, [options.signal, death.signal]);
    const { url, apiKey } = await readyMessage(child, deadline.signal);
    return { url, apiKey, died: death.signal, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function readyMessage(child: NodeJS.EventEmitter, signal: AbortSignal): Promise<ReadyMessage> {
  signal.throwIfAborted();
  return await new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    child.on("message", (message: Partial<ReadyMessage>) => {
      if (message.type === "ready") resolve(message as ReadyMessage);
    });
  });
}

/** The end of what the service said, for whoever has to find out why it did not work. */
export async function lastLines(logFile: string, count: number): Promise<string> {
  const text = await readFile(logFile, "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
