import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { API_KEY, type Installation, startInstallation } from "../../e2e/installation.js";
import { type OwnPostgres, startOwnPostgres } from "../../support/own-postgres.js";
import { hasRedis } from "../../support/redis.js";
import { ingestFaults, longest, startLoad } from "./load.js";

/** A connection counts as lost after 18 s of silence; a request that finds none free is refused after 2 s. */
const ANSWERED_WITHIN_MS = 25_000;
const CLIENTS = 20;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 90_000 });

let postgres: OwnPostgres;
let service: Installation;
beforeAll(async () => {
  if (!hasRedis) return;
  postgres = await startOwnPostgres();
  service = await startInstallation({ queues: "redis", database: postgres, processes: ["api"] });
});
afterAll(() => service?.stop());

it.skipIf(!hasRedis)("F11: a PostgreSQL that is frozen hangs no request for ever", async () => {
  const { url } = await service.process("api").ready;
  const load = startLoad({ url, apiKey: API_KEY }, CLIENTS);
  await vi.waitFor(() => expect(load.sent.length).toBeGreaterThan(100), { timeout: 10_000 });
  await postgres.freeze();
  const frozenAt = performance.now();
  const frozen = () => load.sent.filter(({ at, status }) => at > frozenAt && status !== 200);
  try {
    await vi.waitFor(() => expect(frozen().length).toBeGreaterThan(CLIENTS), { timeout: 60_000 });
    expect((await fetch(`${url}/analytics/health/live`)).status).toBe(200);
    expect((await fetch(`${url}/analytics/health/ready`)).status).toBe(503);
  } finally {
    await postgres.thaw();
  }
  const thawedAt = performance.now();
  await vi.waitFor(
    () => expect(load.sent.some(({ at, status }) => at > thawedAt && status === 200)).toBe(true),
    { timeout: 20_000 },
  );
  const recoveredMs = performance.now() - thawedAt;
  await load.stop();
  console.info(
    `longest answer ${Math.round(longest(load.sent))} ms, events again after ${Math.round(recoveredMs)} ms`,
  );
  expect(longest(load.sent)).toBeLessThan(ANSWERED_WITHIN_MS);
  expect(load.sent.filter(({ status }) => status !== 200 && status !== 503)).toEqual([]);
  expect(await ingestFaults(postgres.pool, load.sent)).toEqual({ lost: [], twice: [], unasked: [] });
});
