import { readdir, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { createQueues } from "../../src/jobs/queue.js";
import { sweepFiles } from "../../src/jobs/sweep-files.js";
import { testConfigFolder } from "../support/app.js";
import { compile } from "../support/compile.js";
import { openTestDb, silentLog, type TestDb } from "../support/postgres.js";
import { startRedis, type TestRedis } from "../support/redis.js";
import type { WholeRun } from "../support/work.js";
import {
  type Api,
  apiOf,
  type Process,
  type Run,
  start,
  stopAll,
  temporaryFolder,
  until,
} from "./support.js";

/** The account that `seedMessages` fills and `orderLog` reports on. */
export const ACCOUNT = "acme";
export const API_KEY = "installation-test-key";

/** `service` is what `npm start` starts: the supervisor with the three others below it. */
type Program = "api" | "worker" | "scheduler" | "service";
const files: Record<Program, string> = {
  api: "api/main.js",
  worker: "workers/main.js",
  scheduler: "workers/scheduler.js",
  service: "start.js",
};

export interface InstallationOptions {
  queues: "postgres" | "redis";
  /** Of its own Redis, as in `redis.conf`. */
  redis?: Record<string, string>;
  /** What is started at once: one API, one scheduler and one worker unless said otherwise. */
  processes?: readonly Program[];
  /** Its database, instead of one in the suite's server; closed with the installation. */
  database?: TestDb;
  /** What its processes are told in place of the URLs of database and Redis. */
  through?: (url: string) => Promise<string>;
  /** For every process. */
  env?: Record<string, string>;
  /** Run as the worker instead of the product's: a module that finds the compiled tree in `process.env.DIST`. */
  workerFile?: string;
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
  /** Every worker that was started, dead ones too. */
  workers(): Process[];
  /** One more process, which may never be ready. */
  launch(program: Program, env?: Record<string, string>): Process;
  /** One more process, ready to work. */
  add(program: Program, env?: Record<string, string>): Promise<Process>;
  /** Rows of finished messages, a second apart from 2026-01-01T00:00:00Z on. */
  seedMessages(rows: number): Promise<void>;
  /** Asks for a message log of everything that was seeded. */
  orderLog(format?: string): Promise<Run>;
  /** Asks for a file of the same messages as an export. */
  orderExport(): Promise<Run>;
  /** What the database says of a run. */
  row(runId: string): Promise<WholeRun>;
  /** The worker that has the run, as soon as so many bytes of its file are written, by whomever. */
  writerOf(runId: string, bytes: number): Promise<Process>;
  /** The same, or that the run is done: on a busy machine whoever looks may be too late. */
  writerUnlessDone(runId: string, bytes: number): Promise<Process | "done">;
  /** Names of the files that exist for a run, finished or not. */
  filesOf(runId: string): Promise<string[]>;
  /** Makes the run's files look two hours old, and has a worker sweep the folder. */
  sweepAgedFiles(runId: string): Promise<void>;
  /** Calls with a connection to Redis that is closed afterwards. */
  withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const [compiled, test, folder] = await Promise.all([
    compile(["start.ts", "api/main.ts", "workers/main.ts", "workers/scheduler.ts"]),
    options.database ?? openTestDb(),
    temporaryFolder(),
  ]);
  const redis = options.queues === "redis" ? await startRedis(options.redis) : undefined;
  const { through = async (url) => url } = options;
  const env = {
    DATABASE_URL: await through(test.url),
    ...(redis ? { REDIS_URL: await through(redis.url) } : {}),
    DATA_DIR: folder.path,
    CONFIG_DIR: testConfigFolder,
    API_KEY,
    HOST: "127.0.0.1",
    PORT: "0",
    DIST: compiled.dist,
    ...options.env,
  };
  const running: { program: Program; process: Process }[] = [];
  const launch = (program: Program, more: Record<string, string> = {}): Process => {
    const file = (program === "worker" && options.workerFile) || files[program];
    const process = start(compiled, file, { ...env, ...more });
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
    const server = running.find(({ program }) => program === "api" || program === "service")?.process;
    const api = apiOf({ url: server ? (await server.ready).url : "", apiKey: API_KEY });
    const row = (runId: string) =>
      test.db.selectFrom("runs").selectAll().where("run_id", "=", runId).executeTakeFirstOrThrow();
    const folderOf = (runId: string) => join(folder.path, "artifacts", runId);
    const filesOf = (runId: string) => readdir(folderOf(runId)).catch(() => []);
    const findWriter = async (runId: string, bytes: number): Promise<Process | undefined> => {
      const { worker } = await row(runId);
      const files = (await filesOf(runId)).map((name) =>
        stat(join(folderOf(runId), name)).catch(() => undefined),
      );
      const sizes = (await Promise.all(files)).map((file) => file?.size ?? 0);
      if (sizes.reduce((sum, size) => sum + size, 0) < Math.max(bytes, 1)) return undefined;
      return running.find(({ process }) => worker?.endsWith(`/${process.pid}`))?.process;
    };
    const order = (what: "reports" | "exports", fields: Record<string, unknown>) =>
      api.json<Run>("POST", `/analytics/${what}`, {
        account_id: ACCOUNT,
        from: "2026-01-01T00:00:00Z",
        to: "2026-02-01T00:00:00Z",
        ...fields,
      });
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
      workers: () => running.filter(({ program }) => program === "worker").map(({ process }) => process),
      launch,
      async add(program, more) {
        const process = launch(program, more);
        await process.ready;
        return process;
      },
      seedMessages: (rows) => seedMessages(test, rows),
      orderLog: (format = "csv") => order("reports", { template: "message-log", format }),
      orderExport: () => order("exports", { dataset: "messages", format: "csv" }),
      row,
      writerOf: (runId, bytes) =>
        until(`${bytes} bytes of ${runId} are written`, () => findWriter(runId, bytes), { everyMs: 2 }),
      writerUnlessDone: (runId, bytes) =>
        until(
          `${bytes} bytes of ${runId} are written, or all`,
          async () =>
            (await row(runId)).status === "succeeded" ? ("done" as const) : findWriter(runId, bytes),
          { everyMs: 2 },
        ),
      filesOf,
      async sweepAgedFiles(runId) {
        const then = Date.now() / 1000 - 2 * 3_600;
        for (const name of await filesOf(runId)) await utimes(join(folderOf(runId), name), then, then);
        const { installation_id } = await test.db
          .selectFrom("installation")
          .select("installation_id")
          .executeTakeFirstOrThrow();
        const queues = createQueues({
          store: redis ? { kind: "redis", url: redis.url } : { kind: "postgres", url: test.url, poolSize: 2 },
          installationId: installation_id,
          process: "test",
          log: silentLog,
        });
        try {
          const id = `sweep-for-${runId}`;
          await queues.enqueue(sweepFiles, { slice: runId[0] }, { id });
          await until(
            "the files are swept",
            async () => (await queues.stateOf("maintenance", id)) === "completed",
          );
        } finally {
          await queues.close();
        }
      },
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
  // They come without rollups: the daily check would ask for a repair and be one more run.
  await test.pool.query("update fold_watermarks set drift_checked_at = now() where account_id = $1", [
    ACCOUNT,
  ]);
  await test.pool.query("analyze messages");
}
