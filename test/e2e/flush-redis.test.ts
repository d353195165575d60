import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { choosePort } from "../../src/supervisor/port.js";
import { type Compiled, compile } from "../support/compile.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
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

const isInstalled = spawnSync("redis-server", ["--version"]).status === 0;
const RUNS = 20;
/** Enough that one worker with one job at a time leaves most of them waiting. */
const ROWS = 20_000;
const DONE_WITHIN_MS = 60_000;
const API_KEY = "flush-redis-test-key";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let compiled: Compiled;
let test: TestDb;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let redisServer: ChildProcess;
let redis: Redis;
let api: Api;
let processes: Process[] = [];

beforeAll(async () => {
  if (!isInstalled) return;
  [compiled, test, folder] = await Promise.all([
    compile(["api/main.ts", "workers/main.ts", "workers/scheduler.ts"]),
    openTestDb(),
    temporaryFolder(),
  ]);
  const env = {
    DATABASE_URL: test.url,
    REDIS_URL: await startRedis(),
    DATA_DIR: folder.path,
    CONFIG_DIR: folder.path,
    API_KEY,
    HOST: "127.0.0.1",
    PORT: "0",
    WORKER_CONCURRENCY: "1",
  };
  await seed();
  processes = ["api/main.js", "workers/main.js", "workers/scheduler.js"].map((file) =>
    start(compiled, file, env),
  );
  await Promise.all(processes.map(({ ready }) => ready));
  api = apiOf({ url: (await processes[0]!.ready).url, apiKey: API_KEY });
});
afterAll(async () => {
  await stopAll(processes);
  redis?.disconnect();
  if (redisServer) {
    redisServer.kill();
    await once(redisServer, "exit");
  }
  await test?.close();
  await folder?.remove();
  await compiled?.remove();
});

async function startRedis(): Promise<string> {
  const port = await choosePort("127.0.0.1", 0);
  const options = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  redisServer = spawn("redis-server", options, { stdio: "ignore", cwd: folder.path });
  const url = `redis://127.0.0.1:${port}`;
  redis = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  redis.on("error", () => {});
  await redis.ping();
  return url;
}

async function seed(): Promise<void> {
  await ensureAccounts(test.db, ["acme"]);
  await test.pool.query(
    `insert into messages (account_id, message_id, anchor_at, sent_at, updated_at, direction)
     select 'acme', 'm-' || n, at, at, at, 'outbound'
     from (select n, '2026-01-01'::timestamptz + n * interval '1 s' as at from generate_series(1, $1::integer) n) times`,
    [ROWS],
  );
}

const order = () =>
  api.json<Run>("POST", "/analytics/reports", {
    account_id: "acme",
    template: "message-log",
    format: "csv",
    from: "2026-01-01T00:00:00Z",
    to: "2026-02-01T00:00:00Z",
  });

it.skipIf(!isInstalled)("a lost queue costs seconds and no run", async () => {
  const runs = await Promise.all(Array.from({ length: RUNS }, order));
  const statuses = async () => Promise.all(runs.map(async ({ id }) => (await api.run(id)).status));
  await until("the first is done", async () => (await statuses()).includes("succeeded"));
  await redis.flushall();
  const flushedAt = performance.now();
  expect((await statuses()).filter((status) => status === "queued").length).toBeGreaterThan(RUNS / 2);

  const finished = await Promise.all(runs.map(({ id }) => api.finished(id, DONE_WITHIN_MS)));
  console.info(`all done ${((performance.now() - flushedAt) / 1000).toFixed(1)} s after the loss`);
  for (const { id, artifact } of finished) {
    expect(artifact!.rows).toBe(ROWS);
    const { bytes, sha256 } = artifact!;
    expect(await api.download(id)).toEqual({ status: 200, bytes, sha256 });
    expect(await readdir(join(folder.path, "artifacts", id))).toHaveLength(1);
  }
});
