import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createDb, createPool } from "../../../src/db/client.js";
import { schemaDifference } from "../../../src/db/migrate.js";
import { readInstallation } from "../../../src/db/queries/installation.js";
import { jobs } from "../../../src/jobs/index.js";
import { createQueues, type Queues } from "../../../src/jobs/queue.js";
import { type Process, start, stopAll, temporaryFolder, until } from "../../e2e/support.js";
import { type Compiled, compile } from "../../support/compile.js";
import { createTestDatabase, silentLog } from "../../support/postgres.js";
import { queueStores, startRedis, type TestRedis } from "../../support/redis.js";

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

/** Their slots are 5 s and 10 s apart, so that each has several within the test. */
const SCHEDULED = jobs.filter((job) => /^\*\/(5|10) \* \* \* \* \*$/.test(job.schedule?.cron ?? ""));
const SLOTS = 2;

let compiled: Compiled;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  [compiled, folder] = await Promise.all([
    compile(["api/main.ts", "workers/scheduler.ts", "cli/migrate.ts"]),
    temporaryFolder(),
  ]);
});
afterAll(async () => {
  await folder?.remove();
  await compiled?.remove();
});

describe.each(queueStores)("with the queues in %s", (queues) => {
  const running: Process[] = [];
  const closers: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    await stopAll(running);
    for (const close of closers.reverse()) await close();
  });

  it("F21: replicas that start and migrate at once make one schema, one job per slot and no deadlock", async () => {
    const database = await createTestDatabase();
    closers.push(() => database.drop());
    const redis: TestRedis | undefined = queues === "redis" ? await startRedis() : undefined;
    if (redis) closers.push(() => redis.stop());
    const env = {
      DATABASE_URL: database.url,
      ...(redis ? { REDIS_URL: redis.url } : {}),
      DATA_DIR: folder.path,
      CONFIG_DIR: folder.path,
      API_KEY: "starts-at-once-test-key",
      HOST: "127.0.0.1",
      PORT: "0",
    };
    const replica = async () => {
      expect(await start(compiled, "cli/migrate.js", env).ended).toBe(0);
      const own = ["api/main.js", "workers/scheduler.js"].map((file) => start(compiled, file, env));
      running.push(...own);
      await Promise.all(own.map(({ ready }) => ready));
      return own[0]!;
    };
    // Two, then three more beside them.
    const first = await Promise.all([replica(), replica()]);
    const apis = [...first, ...(await Promise.all([replica(), replica(), replica()]))];
    for (const api of apis)
      expect((await fetch(`${(await api.ready).url}/analytics/health/ready`)).status).toBe(200);

    const pool = createPool({ url: database.url, name: "test", size: 2, statementTimeoutMs: 0 }, () => {});
    closers.push(() => pool.end());
    const db = createDb(pool);
    expect(await schemaDifference(db)).toEqual([]);
    const installation = await readInstallation(db);
    const queue: Queues = createQueues({
      store: redis ? { kind: "redis", url: redis.url } : { kind: "postgres", url: database.url, poolSize: 2 },
      installationId: installation.installationId,
      process: "test",
      log: silentLog,
    });
    closers.push(() => queue.close());
    // Nobody works, so every job that was ever added still waits.
    const added = async () => {
      const lists = await Promise.all(
        queue.all().map((each) => each.getJobs(["waiting", "prioritized", "delayed"])),
      );
      return lists.flat().map(({ id }) => id!);
    };
    expect(SCHEDULED.length).toBeGreaterThan(0);
    const ids = await until(
      "some slots have passed",
      async () => {
        const found = await added();
        const passed = (kind: string) => found.filter((id) => id.startsWith(`${kind}-at-`)).length > SLOTS;
        return SCHEDULED.every(({ kind }) => passed(kind)) && found;
      },
      { withinMs: 60_000, everyMs: 500 },
    );
    expect(ids.length).toBe(new Set(ids).size);
    for (const { kind, schedule } of SCHEDULED) {
      const every = Number(/\d+/.exec(schedule!.cron)![0]) * 1000;
      const slots = ids
        .filter((id) => id.startsWith(`${kind}-at-`))
        .map((id) => Number(id.split("-at-")[1]))
        .sort((a, b) => a - b);
      // One after the other, none left out and none twice.
      expect(slots.map((slot) => (slot - slots[0]!) / every)).toEqual(slots.map((_, index) => index));
    }
    const { rows } = await pool.query(
      `select deadlocks::integer, (select count(*)::integer from installation) as installations
       from pg_stat_database where datname = current_database()`,
    );
    expect(rows).toEqual([{ deadlocks: 0, installations: 1 }]);
  });
});
