import { afterAll, beforeAll, expect, it } from "vitest";
import { call, type Reply, startTestApp, type TestApp } from "../support/app.js";

/** The API waits 2 s for a connection; the rest is a busy machine. */
const REFUSED_WITHIN_MS = 15_000;
const LIVE_WITHIN_MS = 100;
/** Of a machine that others use at the same time. */
const PATIENCE = 15;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

async function timed(path: string, body?: unknown): Promise<{ reply: Reply; ms: number }> {
  const startedAt = performance.now();
  const reply = await call(app.url, body ? "POST" : "GET", path, { key: app.adminKey, body });
  return { reply, ms: performance.now() - startedAt };
}

it("F15: with every connection held, requests get 503 in time and live answers at once", async () => {
  const { pool, config } = app.context;
  const held = await Promise.all(Array.from({ length: config.database.poolSize }, () => pool.connect()));
  const event = {
    account_id: "a",
    type: "message.sent",
    message_id: "1",
    occurred_at: "2026-01-15T00:00:00Z",
  };
  try {
    const refusals = ["/analytics/accounts", "/analytics/health/ready"].map((path) => timed(path));
    refusals.push(timed("/analytics/events", { events: [event] }));
    const live: number[] = [];
    for (let n = 0; n < 20; n++) {
      const { reply, ms } = await timed("/analytics/health/live");
      expect(reply.status).toBe(200);
      live.push(ms);
    }
    const slowest = Math.max(...live);
    console.info(`live answers within ${slowest.toFixed(1)} ms`);
    expect(slowest).toBeLessThan(LIVE_WITHIN_MS * PATIENCE);
    for (const { reply, ms } of await Promise.all(refusals)) {
      expect(reply.status).toBe(503);
      expect(ms).toBeLessThan(REFUSED_WITHIN_MS);
      if (reply.json.code) expect(reply.json.code).toBe("database_unavailable");
    }
  } finally {
    for (const client of held) client.release();
  }
  expect((await timed("/analytics/events", { events: [event] })).reply.status).toBe(200);
  expect((await timed("/analytics/health/ready")).reply.status).toBe(200);
});
