import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { z } from "zod";
import { openContext } from "../../src/context.js";
import { type AnyJob, defineJob } from "../../src/jobs/define-job.js";
import { queueKey } from "../../src/jobs/queue.js";
import { startWorkers } from "../../src/workers/start-workers.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { silentLog } from "../support/postgres.js";
import { queueStores, startRedis } from "../support/redis.js";

/** What workers do with jobs is in the contract of the queues. */
let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

let ran = 0;
const job = defineJob({
  kind: "test.job",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  run: async () => ({ ran: ++ran }),
});

const CHECK_MS = 20;
/** Workers of a process whose clock is off, as the test sets it; what they say about it is kept. */
async function startWith(clock: { offMs: number }, definitions: readonly AnyJob[], redisUrl?: string) {
  const { config } = app.context;
  const context = await openContext(redisUrl ? { ...config, redis: { url: redisUrl } } : config, {
    process: "worker",
    log: silentLog,
  });
  const said: unknown[] = [];
  const log = Object.create(silentLog, {
    error: { value: (_message: string, fields: { skewSeconds: number }) => said.push(fields.skewSeconds) },
  });
  const now = () => new Date(Date.now() + clock.offMs);
  let ready = false;
  const starting = startWorkers({ ...context, log, now }, { definitions, clockCheckMs: CHECK_MS }).then(
    (workers) => {
      ready = true;
      return workers;
    },
  );
  onTestFinished(async () => {
    clock.offMs = 0;
    await (await starting).drain(1_000);
    await context[Symbol.asyncDispose]();
  });
  return { said, isReady: () => ready };
}

const stateOf = (id: string) => app.context.queues.stateOf("maintenance", id);

it.each([60_000, -60_000])("workers whose clock is off by %i ms start once it is right", async (offMs) => {
  const clock = { offMs };
  const before = ran;
  const { said, isReady } = await startWith(clock, [job]);
  await app.context.queues.enqueue(job, {}, { id: `start-${offMs}` });
  await expect.poll(() => said.length).toBeGreaterThan(2);
  expect(isReady()).toBe(false);
  expect(await stateOf(`start-${offMs}`)).toBe("waiting");
  for (const seconds of said) expect(Math.abs(Number(seconds) - offMs / 1000)).toBeLessThan(1);
  clock.offMs = 1_000;
  await expect.poll(() => stateOf(`start-${offMs}`)).toBe("completed");
  expect(ran).toBe(before + 1);
});

it("workers whose clock goes wrong take nothing until it is right again, and spend no attempt", async () => {
  const clock = { offMs: 0 };
  const before = ran;
  const { said } = await startWith(clock, [job]);
  await app.context.queues.enqueue(job, {}, { id: "right" });
  await expect.poll(() => stateOf("right")).toBe("completed");
  clock.offMs = 60_000;
  await expect.poll(() => said.length).toBeGreaterThan(0);
  // The first finds workers that were waiting for it when they were paused.
  for (const id of ["first", "second"]) await app.context.queues.enqueue(job, {}, { id });
  const seen = said.length;
  await expect.poll(() => said.length).toBeGreaterThan(seen + 5);
  expect(await Promise.all(["first", "second"].map(stateOf))).toEqual(["waiting", "waiting"]);
  expect(ran).toBe(before + 1);
  clock.offMs = 0;
  for (const id of ["first", "second"]) await expect.poll(() => stateOf(id)).toBe("completed");
  expect(ran).toBe(before + 3);
});

it("workers look for abandoned jobs again after one with a wrong clock has looked", async () => {
  const { pool, installation } = app.context;
  await startWith({ offMs: 0 }, [job]);
  const next = async () => {
    const { rows } = await pool.query(
      "select value::float8 as at from bullmq.meta where queue = $1 and field = 'stalled-check'",
      [queueKey(installation.installationId, "maintenance")],
    );
    return rows[0]?.at ?? 0;
  };
  await expect.poll(next).toBeGreaterThan(0);
  await pool.query("update bullmq.meta set value = $1 where field = 'stalled-check'", [
    Date.now() + 3_600_000,
  ]);
  await expect.poll(next).not.toBeGreaterThan(Date.now() + 5_000);
});

it.skipIf(!queueStores.includes("redis"))("with Redis any clock will do", async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const { said, isReady } = await startWith({ offMs: 60_000 }, [job], redis.url);
  await expect.poll(isReady).toBe(true);
  expect(said).toEqual([]);
});

it("workers refuse two definitions of one kind", async () => {
  await expect(startWorkers(app.context, { definitions: [job, job] })).rejects.toThrow("same kind");
});
