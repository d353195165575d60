import { type Config, ConfigError, loadConfig } from "./config.js";
import { createLog, type Log } from "./log.js";
import { announceReady, CLOSING_MS, onParentGone } from "./supervised.js";

const LAST_WORDS_MS = 1_000;

export interface RunningProcess {
  /** Where it can be reached, if it can. */
  url?: string;
  /** Lets go of everything; called once. */
  stop(): Promise<void>;
}

/** Starts a process's work. `stop` is for a reason of its own to end. */
type Start = (config: Config, log: Log, stop: (reason: string) => void) => Promise<RunningProcess>;

/**
 * The frame of every process: reads the configuration, starts, says that it is ready, and stops once: on SIGTERM, on
 * SIGINT or when its supervisor is gone. Exits 0 after a clean stop, 1 otherwise.
 */
export function runProcess(name: "api" | "worker" | "scheduler", start: Start): void {
  run(name, start).catch((error: unknown) => {
    if (error instanceof ConfigError) console.error(error.message);
    else createLog({ level: "error", process: name }).error("cannot start", { error });
    process.exit(1);
  });
}

async function run(name: string, start: Start): Promise<void> {
  const config = loadConfig();
  const log = createLog({ level: config.log.level, process: name });
  exitOnBug(log);
  let running: RunningProcess | undefined;
  let stopping = false;
  const stop = async (reason: string) => {
    if (stopping) return;
    stopping = true;
    // Asked while it still waits to start: there is nothing to let go of.
    if (!running) process.exit(0);
    log.info("draining", { reason });
    setTimeout(() => {
      log.error("forced exit: something did not close in time");
      process.exit(1);
    }, config.shutdownGraceMs + CLOSING_MS).unref();
    await running.stop();
    log.info("stopped", { reason });
    process.exit(0);
  };
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
  onParentGone(() => void stop("the supervisor is gone"));
  running = await start(config, log, (reason) => void stop(reason));
  log.info("ready", running.url === undefined ? {} : { url: running.url });
  announceReady(running.url === undefined ? {} : { url: running.url });
}

/** After an error that nobody expected the state is unknown: a fresh process is safer than this one. */
function exitOnBug(log: Log): void {
  const exit = (error: unknown) => {
    log.error("unexpected error, exiting", { error });
    log.once("finish", () => process.exit(1)).end();
    setTimeout(() => process.exit(1), LAST_WORDS_MS).unref();
  };
  process.on("uncaughtException", exit);
  process.on("unhandledRejection", exit);
}
