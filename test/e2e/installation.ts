import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { testConfigFolder } from "../support/app.js";
import { compile } from "../support/compile.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { startRedis, type TestRedis } from "../support/redis.js";
import { type Api, apiOf, type Process, type Run, start, stopAll, temporaryFolder } from "./support.js";

/** The account that `seedMessages` fills and `orderLog` reports on. */
export const ACCOUNT = "acme";
export const API_KEY = "installation-test-key";

type Program = "api" | "worker" | "scheduler";
const files: Record<Program, string> = {
  api: "api/main.js",
  worker: "workers/main.js",
  scheduler: "workers/scheduler.js",
};

export interface InstallationOptions {
  queues: "postgres" | "redis";
  /** Of its own Redis, as in `redis.conf`. */
  redis?: Record<string, string>;
  /** What is started at once: one API, one scheduler and one worker unless said otherwise. */
  processes?: readonly Program[];
  /** Its database, instead of one in the suite's server; closed with the installation. */
  database?: TestDb;
  /** For every process. */
  env?: Record<string, string>;
}

/** The service as several real processes on a database, a Redis and a folder of its own. */
export interface Installation {
  test: TestDb;
  /** With the queues in Redis only. */
  redis: TestRedis;
  /** Its artifacts are in `artifacts`. */
  dataDir: string;
  api: Api;
  /** The first of its kind, for a test that kills it. */
  process(program: Program): Process;
  /** One more process, ready to work. */
  add(program: Program, env?: Record<string, string>): Promise<Process>;
  /** Rows of finished messages, a second apart from 2026-01-01T00:00:00Z on. */
  seedMessages(rows: number): Promise<void>;
  /** Asks for a message log of everything that was seeded. */
  orderLog(format?: string): Promise<Run>;
  /** Names of the files that exist for a run, finished or not. */
  filesOf(runId: string): Promise<string[]>;
  /** Calls with a connection to Redis that is closed afterwards. */
  withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const [compiled, test, folder] = await Promise.all([
    compile(["api/main.ts", "workers/main.ts", "workers/scheduler.ts"]),
    options.database ?? openTestDb(),
    temporaryFolder(),
  ]);
  const redis = options.queues === "redis" ? await startRedis(options.redis) : undefined;
  const env = {
    DATABASE_URL: test.url,
    ...(redis ? { REDIS_URL: redis.url } : {}),
    DATA_DIR: folder.path,
    CONFIG_DIR: testConfigFolder,
    API_KEY,
    HOST: "127.0.0.1",
    PORT: "0",
    ...options.env,
  };
  const running: { program: Program; process: Process }[] = [];
  const launch = (program: Program, more: Record<string, string> = {}): Process => {
    const process = start(compiled, files[program], { ...env, ...more });
    running.push({ program, process });
    return process;
  };
  const stop = async () => {
    await stopAll(running.map(({ process }) => process));
    await redis?.stop();
    await test.close();
    await folder.remove();
    await compiled.remove();
  };
  try {
    const first = (options.processes ?? ["api", "worker", "scheduler"]).map((program) => launch(program));
    await Promise.all(first.map(({ ready }) => ready));
    const server = running.find(({ program }) => program === "api")?.process;
    const api = apiOf({ url: server ? (await server.ready).url : "", apiKey: API_KEY });
    return {
      test,
      get redis() {
        if (!redis) throw new Error("this installation has its queues in Postgres");
        return redis;
      },
      dataDir: folder.path,
      api,
      process(program) {
        const found = running.find((each) => each.program === program);
        if (!found) throw new Error(`no ${program} was started`);
        return found.process;
      },
      async add(program, more) {
        const process = launch(program, more);
        await process.ready;
        return process;
      },
      seedMessages: (rows) => seedMessages(test, rows),
      orderLog: (format = "csv") =>
        api.json<Run>("POST", "/analytics/reports", {
          account_id: ACCOUNT,
          template: "message-log",
          format,
          from: "2026-01-01T00:00:00Z",
          to: "2026-02-01T00:00:00Z",
        }),
      filesOf: (runId) => readdir(join(folder.path, "artifacts", runId)).catch(() => []),
      async withRedis(work) {
        const client = new Redis(redis!.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 });
        client.on("error", () => {});
        try {
          return await work(client);
        } finally {
          client.disconnect();
        }
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function seedMessages(test: TestDb, rows: number): Promise<void> {
  await ensureAccounts(test.db, [ACCOUNT]);
  await test.pool.query(
    `insert into messages (account_id, message_id, anchor_at, sent_at, delivered_at, updated_at, direction, channel_id,
                           contact_id, content_kind, template)
     select $2, 'm-' || n, at, at, at + interval '3 s', at, 'outbound', 'shop-' || n % 3, '1555' || n % 5000,
            'template', 'offer, "' || n % 7 || '"'
     from (select n, '2026-01-01'::timestamptz + n * interval '1 s' as at from generate_series(1, $1::integer) n) times`,
    [rows, ACCOUNT],
  );
  await test.pool.query("analyze messages");
}
