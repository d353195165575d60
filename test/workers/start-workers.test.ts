import { once } from "node:events";
import { Worker } from "bullmq";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { z } from "zod";
import { queueStore } from "../../src/context.js";
import { PermanentJobError } from "../../src/errors.js";
import { type AnyJob, defineJob, type JobDefinition } from "../../src/jobs/define-job.js";
import { openStore } from "../../src/jobs/queue.js";
import { startWorkers } from "../../src/workers/start-workers.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { silentLog } from "../support/postgres.js";
import { queueStores, startRedis } from "../support/redis.js";

interface Payload {
  id: string;
}
type Options = Partial<Omit<JobDefinition<Payload>, "kind" | "payload" | "run">>;

let kinds = 0;
const jobOf = (run: JobDefinition<Payload>["run"], options: Options = {}) =>
  defineJob({
    // A kind of its own, so that no test sees another's jobs.
    kind: `test.job-${++kinds}`,
    queue: "maintenance",
    payload: z.strictObject({ id: z.string() }),
    backoff: { type: "fixed", delayMs: 20 },
    run,
    ...options,
  });

/** A promise and the way to settle it. */
function gate<T = void>() {
  let open: (value: T) => void = () => {};
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

describe.each(queueStores)("workers with their queues in %s", (backend) => {
  let app: TestApp;
  let redis: Awaited<ReturnType<typeof startRedis>> | undefined;
  beforeAll(async () => {
    redis = backend === "redis" ? await startRedis() : undefined;
    app = await startTestApp({
      env: {
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
  });

  const enqueue: TestApp["context"]["queues"]["enqueue"] = (...call) => app.context.queues.enqueue(...call);
  const start = async (definitions: AnyJob[]) => {
    const ends: string[] = [];
    const workers = await startWorkers(app.context, { definitions, observe: (_kind, end) => ends.push(end) });
    let drained: Promise<void> | undefined;
    const drain = (graceMs: number) => {
      drained ??= workers.drain(graceMs);
      return drained;
    };
    onTestFinished(() => drain(1_000));
    return { ends, drain };
  };
  const queue = () => app.context.queues.all()[3]!;
  const idle = () =>
    expect
      .poll(() => queue().getJobCounts("waiting", "active", "delayed"), { timeout: 20_000 })
      .toEqual({ waiting: 0, active: 0, delayed: 0 });

  it("run a job once", async () => {
    const ran: string[] = [];
    const job = jobOf(async ({ id }) => ({ count: ran.push(id) }));
    const { ends } = await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    await idle();
    expect([ran, ends]).toEqual([["a"], ["done"]]);
    expect(await app.context.queues.stateOf("maintenance", `${job.kind}-a`)).toBe("completed");
    expect(await app.context.queues.stateOf("maintenance", "never-added")).toBe("unknown");
  });

  it("follow a running job with one more, however often it is asked for", async () => {
    const [started, mayEnd] = [gate(), gate()];
    const ran: string[] = [];
    const job = jobOf(
      async ({ id }) => {
        ran.push(id);
        started.open();
        await mayEnd.opened;
        return {};
      },
      { dedupe: ({ id }) => id },
    );
    for (let time = 0; time < 3; time++) await enqueue(job, { id: "a" });
    await start([job]);
    await started.opened;
    for (let time = 0; time < 5; time++) await enqueue(job, { id: "a" });
    mayEnd.open();
    await idle();
    expect(ran).toEqual(["a", "a"]);
    await enqueue(job, { id: "a" });
    await idle();
    expect(ran).toHaveLength(3);
  });

  it("try again after an error and say so when they give up, once", async () => {
    const givenUp: string[] = [];
    const lastAttempts: boolean[] = [];
    const told = gate();
    const job = jobOf(
      async (_payload, context) => {
        lastAttempts.push(context.job.isLastAttempt);
        throw new Error("away");
      },
      {
        attempts: 3,
        onGivenUp: async ({ id }, error) => {
          givenUp.push(`${id} ${error.message}`);
          told.open();
        },
      },
    );
    const { ends } = await start([job]);
    await enqueue(job, { id: "a" });
    await told.opened;
    await idle();
    expect(lastAttempts).toEqual([false, false, true]);
    expect([givenUp, ends]).toEqual([["a away"], ["failed", "failed", "failed"]]);
  });

  it("do not try again what failed for good", async () => {
    const told = gate<string>();
    let runs = 0;
    const job = jobOf(
      () => {
        runs++;
        return Promise.reject(new PermanentJobError("gone", "It is gone."));
      },
      { onGivenUp: async (_payload, error) => told.open(error.message) },
    );
    const { ends } = await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    expect(await told.opened).toBe("It is gone.");
    await idle();
    expect([runs, ends]).toEqual([1, ["given_up"]]);
    expect(await app.context.queues.stateOf("maintenance", `${job.kind}-a`)).toBe("failed");
  });

  it("hand a long job back when they are drained, and another worker finishes it", async () => {
    const started = gate();
    const givenUp: string[] = [];
    let runs = 0;
    const job = jobOf(
      async (_payload, { signal }) => {
        runs++;
        started.open();
        if (runs > 1) return { finished: true };
        await once(signal, "abort");
        throw signal.reason;
      },
      {
        // With one attempt only, handing back would end the job if it spent one.
        attempts: 1,
        onGivenUp: async (_payload, error) => {
          givenUp.push(error.message);
        },
      },
    );
    const first = await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    await started.opened;
    const before = performance.now();
    await first.drain(50);
    expect(performance.now() - before).toBeLessThan(4_000);
    expect(first.ends).toEqual(["handed_back"]);
    const second = await start([job]);
    await idle();
    expect([runs, second.ends, givenUp]).toEqual([2, ["done"], []]);
    const kept = await queue().getJob(`${job.kind}-a`);
    expect(kept).toMatchObject({ returnvalue: { finished: true }, attemptsMade: 1, attemptsStarted: 2 });
  });

  it("hand a job back as often as they are drained: that says nothing against the job", async () => {
    const deploys = 10;
    let started = gate();
    let runs = 0;
    const job = jobOf(
      async (_payload, { signal }) => {
        runs++;
        started.open();
        if (runs > deploys) return {};
        await once(signal, "abort");
        throw signal.reason;
      },
      { attempts: 1 },
    );
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    for (let deploy = 1; deploy <= deploys; deploy++) {
      started = gate();
      const { drain } = await start([job]);
      await started.opened;
      await drain(0);
    }
    const { ends } = await start([job]);
    await idle();
    expect([runs, ends]).toEqual([deploys + 1, ["done"]]);
  });

  it("take over the job of a worker that died, which costs the job no attempt", async () => {
    let runs = 0;
    const job = jobOf(async (_payload, context) => ({ run: ++runs, last: context.job.isLastAttempt }), {
      attempts: 2,
    });
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    const store = openStore(queueStore(app.context.config, app.databaseUrl), "dead", silentLog, "worker");
    const { connection, backend: factory } = store.workerArguments;
    const settings = { connection: connection as never, lockDuration: 1_000, autorun: false };
    const dead = factory
      ? new Worker(queue().name, null, settings, factory)
      : new Worker(queue().name, null, settings);
    await dead.waitUntilReady();
    // Takes the job and is never heard of again.
    expect(await dead.getNextJob("dead")).toMatchObject({ id: `${job.kind}-a` });
    await dead.close(true);
    await store.close();
    const { ends } = await start([job]);
    await idle();
    expect([runs, ends]).toEqual([1, ["done"]]);
    const kept = await queue().getJob(`${job.kind}-a`);
    expect(kept).toMatchObject({ returnvalue: { run: 1, last: false }, attemptsMade: 1, attemptsStarted: 2 });
  });

  it("let a job end that does so within the grace, and take no other", async () => {
    const [started, mayEnd] = [gate(), gate()];
    let runs = 0;
    const job = jobOf(async () => {
      runs++;
      started.open();
      await mayEnd.opened;
      return {};
    });
    const { ends, drain } = await start([job]);
    await enqueue(job, { id: "a" }, { id: `${job.kind}-a` });
    await started.opened;
    const drained = drain(20_000);
    await enqueue(job, { id: "b" }, { id: `${job.kind}-b` });
    mayEnd.open();
    await drained;
    expect([runs, ends]).toEqual([1, ["done"]]);
    expect(await app.context.queues.stateOf("maintenance", `${job.kind}-b`)).toBe("waiting");
    await start([job]);
    await idle();
    expect(runs).toBe(2);
  });

  it("refuse two definitions of one kind", async () => {
    const job = jobOf(async () => ({}));
    await expect(startWorkers(app.context, { definitions: [job, job] })).rejects.toThrow("same kind");
  });
});
