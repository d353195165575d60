import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Job, type Queue, Worker } from "bullmq";
import { afterAll, beforeAll, describe, expect, onTestFinished } from "vitest";
import { z } from "zod";
import { openContext, queueStore } from "../../src/context.js";
import { createCopySource } from "../../src/db/copy.js";
import { createEgress } from "../../src/delivery/egress.js";
import { createDiskStore } from "../../src/exports/artifacts/disk.js";
import {
  type AnyJob,
  defineJob,
  type Enqueue,
  type JobContext,
  type JobDefinition,
  type QueueName,
  queueNames,
} from "../../src/jobs/define-job.js";
import { openStore } from "../../src/jobs/queue.js";
import type { JobEnd } from "../../src/workers/run-job.js";
import { MAX_STALLS, startWorkers } from "../../src/workers/start-workers.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { silentLog } from "../support/postgres.js";
import { queueStores, startRedis, type TestRedis } from "../support/redis.js";
import { testSettings } from "../support/work.js";

export interface Payload {
  id: string;
  note?: string | undefined;
}
type Options = Partial<Omit<JobDefinition<Payload>, "kind" | "payload" | "run">>;

let kinds = 0;
/** A job of a kind of its own, so that no test sees another's. */
export const jobOf = (run: JobDefinition<Payload>["run"], options: Options = {}) =>
  defineJob({
    kind: `test.job-${++kinds}`,
    queue: "maintenance",
    payload: z.strictObject({ id: z.string(), note: z.string().optional() }),
    backoff: { type: "fixed", delayMs: 20 },
    run,
    ...options,
  });

/** A promise and the way to settle it. */
export function gate<T = void>() {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** A worker process of its own, as far as the database and the queues can tell. */
export interface WorkerProcess {
  ends: JobEnd[];
  drain(graceMs: number): Promise<void>;
}

/** Takes jobs when it is told to and renews no lock: as good as dead once it has one. */
export interface DeadWorker {
  take(): Promise<Job>;
  /** Nothing is there to be taken. */
  finds(): Promise<Job | undefined>;
  /** Looks for jobs of dead workers, its own among them, as every worker does. */
  watchForStalls(): Promise<void>;
}

export interface Contract {
  app(): TestApp;
  /** As an API process asks for work. */
  enqueue: Enqueue;
  /** Drained when the test ends. */
  start(definitions: readonly AnyJob[]): Promise<WorkerProcess>;
  startDead(settings: { lockMs: number; queue?: QueueName }): Promise<DeadWorker>;
  queue(name?: QueueName): Queue;
  stateOf(id: string): ReturnType<TestApp["context"]["queues"]["stateOf"]>;
  /** What a worker lends to a job, for work without one. */
  lent(overrides?: Partial<JobContext>): JobContext;
  /** Once nothing waits or runs any more. */
  idle(name?: QueueName): Promise<void>;
  /** Takes the queues away from everybody, and brings them back; what was in them may be lost. */
  away(): Promise<void>;
  back(): Promise<void>;
}

/** The same tests on every store that the queues may live in. */
export function contract(title: string, tests: (contract: Contract) => void): void {
  for (const store of ["postgres", "redis"] as const)
    describe.skipIf(!queueStores.includes(store))(`${title}, with the queues in ${store}`, () =>
      tests(open(store)),
    );
}

function open(store: "postgres" | "redis"): Contract {
  let app: TestApp;
  let redis: TestRedis | undefined;
  let dataDir: string;
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "contract-test-"));
    redis = store === "redis" ? await startRedis() : undefined;
    app = await startTestApp({
      env: {
        DATA_DIR: dataDir,
        JOB_LOCK_MS: "1000",
        JOB_STALLED_CHECK_MS: "250",
        // A worker with room for more may have asked for its next job just before it is drained.
        WORKER_CONCURRENCY: "1",
        ...(redis ? { REDIS_URL: redis.url } : {}),
      },
    });
  });
  afterAll(async () => {
    await app.close();
    await redis?.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  const queue = (name: QueueName = "maintenance") => app.context.queues.all()[queueNames.indexOf(name)]!;
  return {
    app: () => app,
    enqueue: (...call) => app.context.queues.enqueue(...call),
    start: (definitions) => startWorkerProcess(app, definitions),
    startDead: (settings) => startDeadWorker(app, settings.lockMs, queue(settings.queue)),
    queue,
    stateOf: (id) => app.context.queues.stateOf("maintenance", id),
    lent: (overrides = {}) => ({ ...lentBy(app), ...overrides }),
    idle: (name) =>
      expect
        .poll(() => queue(name).getJobCounts("waiting", "active", "delayed"), { timeout: 20_000 })
        .toEqual({ waiting: 0, active: 0, delayed: 0 }),
    away: async () =>
      redis ? redis.kill() : void (await app.context.pool.query("alter schema bullmq rename to taken")),
    async back() {
      if (redis) await redis.restart();
      else await app.context.pool.query("alter schema taken rename to bullmq");
      await expect
        .poll(
          () =>
            queue()
              .getJobCounts("waiting")
              .catch(() => undefined),
          { timeout: 10_000 },
        )
        .toBeDefined();
    },
  };
}

const lentBy = ({ context }: TestApp): JobContext => ({
  db: context.db,
  copy: createCopySource(context.pool),
  artifacts: createDiskStore(join(context.config.dataDir, "artifacts")),
  log: silentLog,
  signal: new AbortController().signal,
  now: context.now,
  enqueue: context.queues.enqueue,
  ...context.admission,
  stateOf: context.queues.stateOf,
  removeJob: context.queues.remove,
  settings: testSettings,
  egress: createEgress(context.config.webhooks),
  mailer: undefined,
  job: { id: "test", addedAt: new Date(), isLastAttempt: false },
  worker: "test",
});

async function startWorkerProcess(app: TestApp, definitions: readonly AnyJob[]): Promise<WorkerProcess> {
  const context = await openContext(app.context.config, { process: "worker", log: silentLog });
  const ends: JobEnd[] = [];
  const workers = await startWorkers(context, { definitions, observe: (_kind, end) => ends.push(end) });
  let drained: Promise<void> | undefined;
  const drain = (graceMs: number) => {
    drained ??= workers.drain(graceMs).then(() => context[Symbol.asyncDispose]());
    return drained;
  };
  onTestFinished(() => drain(1_000));
  return { ends, drain };
}

async function startDeadWorker({ context }: TestApp, lockMs: number, queue: Queue): Promise<DeadWorker> {
  const store = openStore(queueStore(context.config, context.databaseUrl), "dead", silentLog, "worker");
  const { connection, backend } = store.workerArguments;
  const settings = {
    connection: connection as never,
    lockDuration: lockMs,
    stalledInterval: 50,
    maxStalledCount: MAX_STALLS,
    autorun: false,
  };
  const worker = (backend
    ? new Worker(queue.name, null, settings, backend)
    : new Worker(queue.name, null, settings)) as unknown as Worker;
  worker.on("error", () => {});
  await worker.waitUntilReady();
  onTestFinished(async () => {
    await worker.close(true);
    await store.close();
  });
  return {
    finds: () => worker.getNextJob("dead", { block: false }),
    async take() {
      const job = await worker.getNextJob("dead", { block: false });
      if (!job) throw new Error("there is no job to take");
      return job;
    },
    watchForStalls: () => worker.startStalledCheckTimer(),
  };
}
