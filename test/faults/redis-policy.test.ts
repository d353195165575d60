import { afterAll, beforeAll, expect, it } from "vitest";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { hasRedis, startRedis, type TestRedis } from "../support/redis.js";

let redis: TestRedis;
let app: TestApp;
beforeAll(async () => {
  if (!hasRedis) return;
  redis = await startRedis({ "maxmemory-policy": "allkeys-lru" });
  app = await startTestApp({ env: { REDIS_URL: redis.url } });
});
afterAll(async () => {
  await app?.close();
  await redis?.stop();
});

it.skipIf(!hasRedis)("F10: a Redis that may evict jobs is not ready, and diagnostics say why", async () => {
  const ready = await call(app.url, "GET", "/analytics/health/ready");
  expect([ready.status, ready.json]).toEqual([503, { status: "unavailable" }]);
  const { json } = await call(app.url, "GET", "/analytics/diagnostics", { key: app.adminKey });
  expect(json.queue_health).toEqual({ unavailable: expect.stringContaining("maxmemory-policy allkeys-lru") });
});
