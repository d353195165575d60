import { ConfigError, loadConfig } from "../config.js";
import { openContext } from "../context.js";
import { createLog, type Log } from "../log.js";
import { announceReady, announceRetiring, onParentGone } from "../supervised.js";
import { apiRoutes } from "./routes/index.js";
import { startServer } from "./server.js";

/** On top of the grace for requests: closing pools and queues must end too. */
const FORCED_EXIT_MARGIN_MS = 5_000;
const LAST_WORDS_MS = 1_000;

async function main(): Promise<void> {
  const config = loadConfig();
  const log = createLog({ level: config.log.level, process: "api" });
  exitOnBug(log);
  const context = await openContext(config, { process: "api", log });
  let stopping = false;
  const stop = (reason: string) => {
    if (stopping) return;
    stopping = true;
    log.info("draining", { reason });
    setTimeout(() => {
      log.error("forced exit: something did not close in time");
      process.exit(1);
    }, config.shutdownGraceMs + FORCED_EXIT_MARGIN_MS).unref();
    void shutDown(reason);
  };
  const server = await startServer(context, apiRoutes(context), {
    onWornOut: () => {
      // A supervisor sends SIGTERM once the successor serves; without one somebody else restarts us.
      if (!announceRetiring()) stop("max_requests reached");
    },
  });
  const shutDown = async (reason: string) => {
    await server.drain();
    await context[Symbol.asyncDispose]();
    log.info("stopped", { reason });
    process.exit(0);
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
  onParentGone(() => stop("the supervisor is gone"));
  log.info("listening", { url: server.url });
  announceReady({ url: server.url });
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

main().catch((error: unknown) => {
  if (error instanceof ConfigError) console.error(error.message);
  else createLog({ level: "error", process: "api" }).error("cannot start", { error });
  process.exit(1);
});
