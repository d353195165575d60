import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.js";
import { until } from "../e2e/support.js";
import { hasRedis } from "../support/redis.js";

const RUNS = 50;
/** Enough that one worker with one job at a time leaves most of them waiting. */
const ROWS = 20_000;
const DONE_WITHIN_MS = 60_000;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let service: Installation;
beforeAll(async () => {
  if (!hasRedis) return;
  service = await startInstallation({ queues: "redis", env: { WORKER_CONCURRENCY: "1" } });
  await service.seedMessages(ROWS);
});
afterAll(() => service?.stop());

it.skipIf(!hasRedis)("F09: a lost queue costs seconds and no run", async () => {
  const { api } = service;
  const runs = await Promise.all(Array.from({ length: RUNS }, () => service.orderLog()));
  const statuses = async () => Promise.all(runs.map(async ({ id }) => (await api.run(id)).status));
  await until("the first is done", async () => (await statuses()).includes("succeeded"));
  await service.withRedis((redis) => redis.flushall());
  const flushedAt = performance.now();
  expect((await statuses()).filter((status) => status === "queued").length).toBeGreaterThan(RUNS / 2);

  const finished = await Promise.all(runs.map(({ id }) => api.finished(id, DONE_WITHIN_MS)));
  console.info(`all done ${((performance.now() - flushedAt) / 1000).toFixed(1)} s after the loss`);
  for (const { id, artifact } of finished) {
    expect(artifact!.rows).toBe(ROWS);
    const { bytes, sha256 } = artifact!;
    expect(await api.download(id)).toEqual({ status: 200, bytes, sha256 });
    expect(await service.filesOf(id)).toHaveLength(1);
  }
});
