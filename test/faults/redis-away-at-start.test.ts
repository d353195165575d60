import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { API_KEY, type Installation, startInstallation } from "../e2e/installation.js";
import { type Api, apiOf, type Run, until } from "../e2e/support.js";
import { hasRedis } from "../support/redis.js";

const ROWS = 10;
/** An add waits for the queue for a second; the rest is a busy machine. */
const ACCEPTED_WITHIN_MS = 10_000;
const HEALED_WITHIN_MS = 30_000;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let service: Installation;
beforeAll(async () => {
  if (!hasRedis) return;
  service = await startInstallation({ queues: "redis", processes: [] });
  await service.seedMessages(ROWS);
  await service.redis.kill();
});
afterAll(() => service?.stop());

const order = (api: Api) =>
  api.json<Run>("POST", "/analytics/reports", {
    account_id: "acme",
    template: "message-log",
    format: "csv",
    from: "2026-01-01T00:00:00Z",
    to: "2026-02-01T00:00:00Z",
  });

it.skipIf(!hasRedis)(
  "F08: started without Redis, every process waits for it, unready, and heals",
  async () => {
    const [server, scheduler] = await Promise.all([service.add("api"), service.add("scheduler")]);
    const worker = service.add("worker");
    const { url } = await server.ready;
    const api = apiOf({ url, apiKey: API_KEY });
    const readiness = async () => (await fetch(`${url}/analytics/health/ready`)).status;
    expect(await readiness()).toBe(503);
    expect(server.output()).toMatch(/"not ready"/);
    const diagnostics = await api.json<{ queue_health: object }>("GET", "/analytics/diagnostics");
    expect(diagnostics.queue_health).toEqual({ unavailable: expect.any(String) });

    const event = {
      account_id: "acme",
      type: "message.sent",
      message_id: "x",
      occurred_at: "2026-01-15T00:00:00Z",
    };
    expect(await api.json("POST", "/analytics/events", { events: [event] })).toMatchObject({ accepted: 1 });
    const askedAt = performance.now();
    const { id } = await order(api);
    const acceptedMs = performance.now() - askedAt;
    expect(acceptedMs).toBeLessThan(ACCEPTED_WITHIN_MS);

    await service.redis.restart();
    const backAt = performance.now();
    await until("ready", async () => (await readiness()) === 200, { withinMs: HEALED_WITHIN_MS });
    const readyMs = performance.now() - backAt;
    await api.finished(id, HEALED_WITHIN_MS);
    const doneMs = performance.now() - backAt;
    console.info(
      `accepted in ${acceptedMs | 0} ms; after Redis' return ready ${readyMs | 0} ms, done ${doneMs | 0} ms`,
    );
    expect(doneMs).toBeLessThan(HEALED_WITHIN_MS);
    for (const { child } of [server, scheduler, await worker]) expect(child.exitCode).toBeNull();
  },
);
