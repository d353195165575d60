import { fileURLToPath } from "node:url";
import { type Config, ConfigError, environmentWith, loadConfig } from "../config.js";
import { EmbeddedPostgresError } from "../embedded/postgres.js";
import { createLog } from "../log.js";
import { migrate } from "../migrate.js";
import { announceReady, CLOSING_MS, onParentGone } from "../supervised.js";
import { keepApiKey } from "./api-key.js";
import { superviseChildren } from "./children.js";
import type { ChildSpec } from "./kept-child.js";
import { keepPostgres } from "./kept-postgres.js";
import { choosePort, localUrl } from "./port.js";
import { StartError } from "./start-error.js";
import { listenForStop, type StopRequests } from "./stop-requests.js";
import { welcomeText } from "./welcome.js";

/**
 * An event lives until its batch is committed: longer than the 16 MB that Node.js gives young objects at most, which
 * made their collection a quarter of the work. Costs about 50 MB of memory under full load. `npm run api` says the same.
 */
export const apiNodeOptions: readonly string[] = ["--max-semi-space-size=32"];

/**
 * Rows on their way into files are bytes outside of the heap, which wait for a collection of the few objects that hold them:
 * a small young heap brings that about, and saves 20 to 30 MB. `npm run worker` says the same.
 */
export const workerNodeOptions: readonly string[] = ["--max-semi-space-size=2"];

/** Children exit by themselves within `CLOSING_MS` after their grace; one that does not is killed. */
const GRACE_MARGIN_MS = CLOSING_MS + 2_000;

/** What is known once the database is there. */
interface Setting {
  databaseUrl: string;
  apiKey: string;
  port: number;
}

interface Run {
  stop: StopRequests;
  /** What to undo at the end, latest first. */
  cleanups: (() => Promise<void>)[];
  /** Ends the run with exit code 1. */
  fail: (reason: string) => void;
}

/**
 * Runs the whole service: database, migrations, API, workers and scheduler, until a signal asks for its end. Returns the
 * exit code. Everything that was started has been stopped by then, PostgreSQL last.
 */
export async function supervise(): Promise<number> {
  // A terminal or pipe that has gone away is no reason to leave children and a database behind.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const stop = listenForStop();
  onParentGone(() => stop.request("the parent process is gone"));
  const cleanups: Run["cleanups"] = [];
  let exitCode = 0;
  const fail = (reason: string) => {
    exitCode = 1;
    stop.request(reason);
  };
  try {
    await run({ stop, cleanups, fail });
  } catch (error) {
    exitCode = 1;
    reportFailure(error);
  }
  for (const cleanup of cleanups.reverse()) await cleanup();
  return exitCode;
}

async function run({ stop, cleanups, fail }: Run): Promise<void> {
  const config = loadConfig();
  const log = createLog({ level: config.log.level, process: "supervisor" });
  // Before anything is started: a taken port is the likeliest mistake.
  const port = await choosePort(config.http.host, config.http.port);
  let databaseUrl = config.database.url;
  if (databaseUrl === undefined) {
    const postgres = await keepPostgres({ dataDir: config.dataDir, log, onLost: fail });
    cleanups.push(postgres.stop);
    databaseUrl = postgres.url;
  }
  const apiKey = config.secrets.apiKey ?? (await keepApiKey(config.dataDir));
  await Promise.race([migrate(databaseUrl, log), stop.first]);
  if (stop.reason() === undefined) {
    const setting = { databaseUrl, apiKey, port };
    const children = superviseChildren(childSpecs(config, setting), log);
    cleanups.push(() => children.stop(config.shutdownGraceMs + GRACE_MARGIN_MS));
    void stop.second.then(() => {
      fail("second request");
      children.kill();
    });
    await Promise.race([children.ready, stop.first]);
    if (stop.reason() === undefined) welcome(config, setting);
  }
  log.info("stopping", { reason: await stop.first });
}

function childSpecs(config: Config, setting: Setting): ChildSpec[] {
  const env = {
    // The C library of most Linux systems gives threads heaps of their own, and files are compressed by threads.
    MALLOC_ARENA_MAX: "2",
    ...environmentWith({
      DATABASE_URL: setting.databaseUrl,
      API_KEY: setting.apiKey,
      PORT: String(setting.port),
      UV_THREADPOOL_SIZE: String(config.threadPool),
    }),
  };
  const file = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
  const several = (count: number, name: string) =>
    Array.from({ length: count }, (_, at) => `${name} ${at + 1}`);
  return [
    ...several(config.http.processes, "api").map((name) => ({
      name,
      file: file("api/main.js"),
      env,
      nodeOptions: apiNodeOptions,
      sharesPort: true,
    })),
    ...several(config.workers.processes, "worker").map((name) => ({
      name,
      file: file("workers/main.js"),
      env,
      nodeOptions: workerNodeOptions,
    })),
    { name: "scheduler", file: file("workers/scheduler.js"), env },
  ];
}

function welcome(config: Config, { databaseUrl, apiKey, port }: Setting): void {
  const url = localUrl(config.http.host, port);
  const text = welcomeText({
    url,
    madeApiKey: config.secrets.apiKey === undefined ? apiKey : undefined,
    dataDir: config.dataDir,
    databaseUrl,
    embedded: config.database.url === undefined,
    redisUrl: config.redis.url,
  });
  process.stdout.write(text);
  announceReady({ url, apiKey, pid: process.pid });
}

function reportFailure(error: unknown): void {
  const expected = [ConfigError, EmbeddedPostgresError, StartError].some((kind) => error instanceof kind);
  console.error(expected ? (error as Error).message : error);
}
