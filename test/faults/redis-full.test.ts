import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.js";
import type { Run } from "../e2e/support.js";
import { hasRedis } from "../support/redis.js";

const ROWS = 2_000;
const DONE_WITHIN_MS = 30_000;
const LINES_AT_MOST = 20;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let service: Installation;
beforeAll(async () => {
  if (!hasRedis) return;
  service = await startInstallation({ queues: "redis", env: { WORKER_CONCURRENCY: "1" } });
  await service.seedMessages(ROWS);
});
afterAll(() => service?.stop());

async function orderLogs(count: number): Promise<Run[]> {
  const runs: Run[] = [];
  for (let n = 0; n < count; n++) runs.push(await service.orderLog());
  return runs;
}

it.skipIf(!hasRedis)("F10: a full Redis refuses no run, loses none and evicts nothing", async () => {
  const { api, test } = service;
  const finished = (runs: Run[]) => Promise.all(runs.map(({ id }) => api.finished(id, DONE_WITHIN_MS)));
  const open = async (condition: string) =>
    (
      await test.pool.query(
        `select from runs where status in ('queued', 'running') and requested_by not like 'system:%' and ${condition}`,
      )
    ).rowCount;
  const before = await orderLogs(20);
  expect(await open("enqueued_at is null")).toBeGreaterThan(0);
  await service.withRedis(async (redis) => {
    // Less than it holds already.
    await redis.config("SET", "maxmemory", "1mb");
    await expect(redis.set("one-more", "x")).rejects.toThrow("OOM");
  });

  const accepted = await orderLogs(3);
  expect(accepted.map(({ status }) => status)).toEqual(["queued", "queued", "queued"]);
  const event = {
    account_id: "acme",
    type: "message.sent",
    message_id: "x",
    occurred_at: "2026-01-15T00:00:00Z",
  };
  expect(await api.json("POST", "/analytics/events", { events: [event] })).toMatchObject({ accepted: 1 });
  // What was in the queue is still worked off; the others wait.
  await expect.poll(() => open("enqueued_at is not null"), { timeout: DONE_WITHIN_MS }).toBe(0);
  expect(await open("true")).toBeGreaterThanOrEqual(accepted.length);
  await service.withRedis(async (redis) => {
    await expect(redis.set("one-more", "x")).rejects.toThrow("OOM");
    expect(await redis.info("stats")).toContain("evicted_keys:0");
    await redis.config("SET", "maxmemory", "0");
  });

  const freeAt = performance.now();
  await finished([...before, ...accepted]);
  console.info(`accepted while full, done ${Math.round(performance.now() - freeAt)} ms after it was not`);
  for (const program of ["api", "worker", "scheduler"] as const)
    expect(service.process(program).output().split("\n").length).toBeLessThan(LINES_AT_MOST);
});
