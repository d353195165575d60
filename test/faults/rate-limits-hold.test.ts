import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createApp, listRoutes } from "../../src/api/app.js";
import { apiRoutes } from "../../src/api/routes/index.js";
import { API_KEY, startInstallation } from "../e2e/installation.js";
import { received } from "../sources/whatsapp-cloud-webhook.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { hasRedis, startRedis } from "../support/redis.js";
import { deliverSigned, WEBHOOK_SECRET } from "../support/signed-webhook.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "limits-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A configuration with these limits. */
async function limitedTo(limits: string): Promise<Record<string, string>> {
  const directory = await mkdtemp(join(folder, "config-"));
  await writeFile(join(directory, "security.yaml"), `rate_limits: ${limits}\n`);
  return { CONFIG_DIR: directory };
}

const keys = (app: TestApp, path = "/analytics/keys") => call(app.url, "GET", path, { key: app.adminKey });

/** A route that is not here has no decided place in the limits yet. */
const classes: Record<string, readonly string[]> = {
  default: [
    "get /analytics/accounts",
    "post /analytics/accounts",
    "get /analytics/accounts/:account_id",
    "patch /analytics/accounts/:account_id",
    "get /analytics/aggregations",
    "get /analytics/aggregations/:id",
    "post /analytics/aggregations/:id/cancel",
    "get /analytics/channels",
    "put /analytics/channels/:channel_id",
    "delete /analytics/channels/:channel_id",
    "get /analytics/diagnostics",
    "get /analytics/exports",
    "get /analytics/exports/:id",
    "post /analytics/exports/:id/cancel",
    "get /analytics/exports/:id/download",
    "get /analytics/imports",
    "get /analytics/imports/:id",
    "post /analytics/imports/:id/cancel",
    "get /analytics/imports/:id/download",
    "get /analytics/keys",
    "post /analytics/keys",
    "get /analytics/keys/:id",
    "delete /analytics/keys/:id",
    "get /analytics/metrics/catalog",
    "get /analytics/reports",
    "get /analytics/reports/:id",
    "post /analytics/reports/:id/cancel",
    "get /analytics/reports/:id/download",
    "get /analytics/sources/whatsapp-cloud",
    "get /analytics/timeline/:chat",
    "delete /analytics/exports/:id/links/:link_id",
    "delete /analytics/report-templates/:name",
    "delete /analytics/reports/:id/links/:link_id",
    "delete /analytics/schedules/:id",
    "delete /analytics/webhook-endpoints/:id",
    "get /analytics/admin/parked",
    "get /analytics/deliveries",
    "get /analytics/deliveries/:id",
    "get /analytics/downloads/:token",
    "get /analytics/exports/:id/links",
    "get /analytics/exports/:id/links/:link_id/uses",
    "get /analytics/exports/:id/manifest",
    "get /analytics/imports/:id/manifest",
    "get /analytics/report-templates",
    "get /analytics/report-templates/:name",
    "get /analytics/reports/:id/links",
    "get /analytics/reports/:id/links/:link_id/uses",
    "get /analytics/reports/:id/manifest",
    "get /analytics/schedules",
    "get /analytics/schedules/:id",
    "get /analytics/schedules/:id/fires",
    "get /analytics/schedules/:id/history",
    "get /analytics/webhook-endpoints",
    "get /analytics/webhook-endpoints/:id",
    "patch /analytics/schedules/:id",
    "patch /analytics/webhook-endpoints/:id",
    "post /analytics/admin/parked/redrive",
    "post /analytics/admin/queues/:queue/pause",
    "post /analytics/admin/queues/:queue/resume",
    "post /analytics/deliveries/:id/retry",
    "post /analytics/exports/:id/links",
    "post /analytics/exports/estimate",
    "post /analytics/report-templates",
    "post /analytics/reports/:id/links",
    "post /analytics/reports/estimate",
    "post /analytics/schedules",
    "post /analytics/schedules/:id/pause",
    "post /analytics/schedules/:id/resume",
    "post /analytics/webhook-endpoints",
    "post /analytics/webhook-endpoints/:id/rotate-secret",
    "post /analytics/webhook-endpoints/:id/test",
    "put /analytics/report-templates/:name",
  ],
  export: ["get /analytics/export"],
  health: ["get /analytics/health", "get /analytics/health/live", "get /analytics/health/ready"],
  metrics: [
    "get /analytics/flows",
    "get /analytics/heatmap",
    "get /analytics/metrics",
    "get /analytics/metrics/stream",
    "get /analytics/retention",
    "post /analytics/report-templates/preview",
  ],
  reports: [
    "post /analytics/aggregations",
    "post /analytics/aggregations/:id/retry",
    "post /analytics/exports",
    "post /analytics/exports/:id/retry",
    "post /analytics/imports",
    "post /analytics/imports/:id/retry",
    "post /analytics/reports",
    "post /analytics/reports/:id/retry",
    "post /analytics/schedules/:id/run",
  ],
  unlimited: [
    "post /analytics/events",
    "post /analytics/sources/baileys",
    "post /analytics/sources/waha",
    "post /analytics/sources/whatsapp-cloud",
    "post /analytics/sources/whatsapp-web-js",
  ],
};

it("every route has the class of limits that was decided for it", async () => {
  await using app = await startTestApp();
  const routes = listRoutes(createApp(app.context, apiRoutes(app.context)));
  const found: Record<string, string[]> = {};
  for (const { method, path, limit = "default" } of routes) {
    found[limit] ??= [];
    found[limit].push(`${method} ${path}`);
  }
  const sorted = (lists: Record<string, readonly string[]>) =>
    Object.fromEntries(Object.entries(lists).map(([name, paths]) => [name, [...paths].sort()]));
  expect(sorted(found)).toEqual(sorted(classes));
});

it("no other spelling of a path opens another bucket", async () => {
  await using app = await startTestApp({ env: await limitedTo("{ default: 1, burst: 4 }") });
  const spellings = [
    ...["/analytics/keys", "/analytics/keys/", "/Analytics/keys", "/ANALYTICS/KEYS", "//analytics/keys"],
    ...[
      "/analytics//keys",
      "/analytics/./keys",
      "/analytics/x/../keys",
      "/analytics/%6beys",
      "/analytics/keys?a",
    ],
    ...[
      "/analytics/keys%2f",
      "/analytics/keys;x",
      "/analytics/keys%00",
      "/analytics/keys#x",
      "/analytics/keys/?x=1",
    ],
  ];
  const served = [];
  for (let round = 0; round < 2; round++)
    for (const path of spellings) {
      const { status } = await keys(app, path);
      // Nothing is at the others, and there they end, without having been counted or served.
      expect([200, 400, 404, 429], path).toContain(status);
      if (status === 200 || status === 400) served.push(path);
    }
  expect(served).toHaveLength(4);
  expect((await keys(app)).status).toBe(429);
});

it("a signed webhook is taken when the address has used up every bucket", async () => {
  await using app = await startTestApp({
    env: {
      ...(await limitedTo("{ default: 1, burst: 1, health: 1, auth: 1, metrics: 1, reports: 1, export: 1 }")),
      WHATSAPP_APP_SECRET: WEBHOOK_SECRET,
    },
  });
  const wrong = "wrong-key-0123456789";
  const used = {
    health: () => call(app.url, "GET", "/analytics/health/live"),
    default: () => call(app.url, "GET", "/analytics/sources/whatsapp-cloud?hub.mode=subscribe"),
    auth: () => call(app.url, "GET", "/analytics/keys", { key: wrong }),
  };
  for (const attempt of Object.values(used))
    await expect.poll(async () => (await attempt()).status, { interval: 1 }).toBe(429);
  const replies = await Promise.all(
    Array.from({ length: 50 }, (_, i) => deliverSigned(app.url, received("text", { id: `wamid.${i}` }))),
  );
  expect(replies.map(({ status }) => status)).toEqual(Array(50).fill(200));
  expect(replies.some(({ headers }) => headers.has("ratelimit"))).toBe(false);
  for (const attempt of Object.values(used)) expect((await attempt()).status).toBe(429);
});

describe.runIf(hasRedis)("with Redis", () => {
  it("Redis that hangs costs an answer a moment; the process counts alone, and with Redis again later", async () => {
    const redis = await startRedis();
    const env = { ...(await limitedTo("{ default: 1, burst: 20 }")), REDIS_URL: redis.url };
    const app = await startTestApp({ env });
    try {
      for (let i = 0; i < 5; i++) expect((await keys(app)).status).toBe(200);
      redis.freeze();
      const replies = [];
      for (let i = 0; i < 25; i++) {
        const started = performance.now();
        const { status, headers } = await keys(app);
        replies.push({ status, left: headers.get("ratelimit"), ms: performance.now() - started });
      }
      expect(replies.map(({ status }) => status)).toEqual([...Array(20).fill(200), ...Array(5).fill(429)]);
      expect(replies[0]!.left).toBe('"default";r=19;t=60');
      const waits = replies.map(({ ms }) => ms).sort((one, other) => one - other);
      expect(waits.at(-1)).toBeLessThan(1_000);
      // One in a second asks Redis, and waits a tenth of a second for it.
      expect(waits[12]).toBeLessThan(100);
      redis.thaw();
      // What was sent to it before it hung is counted by then.
      await expect.poll(async () => (await keys(app)).status, { timeout: 10_000 }).toBe(200);
    } finally {
      redis.thaw();
      await app.close();
      await redis.stop();
    }
  });

  it("two API processes share a bucket exactly", async () => {
    const service = await startInstallation({
      queues: "redis",
      processes: ["api"],
      env: await limitedTo("{ default: 1, burst: 100 }"),
    });
    try {
      const first = await service.process("api").ready;
      const second = await (await service.add("api")).ready;
      const started = performance.now();
      const statuses = await Promise.all(
        Array.from({ length: 600 }, async (_, i) => {
          const { url } = i % 2 ? first : second;
          return (await call(url, "GET", "/analytics/keys", { key: API_KEY })).status;
        }),
      );
      const refilled = Math.floor((performance.now() - started) / 60_000);
      const allowed = statuses.filter((status) => status === 200).length;
      expect(allowed - 100).toBeGreaterThanOrEqual(0);
      expect(allowed - 100).toBeLessThanOrEqual(refilled);
      expect(statuses.filter((status) => status === 429)).toHaveLength(600 - allowed);
    } finally {
      await service.stop();
    }
  });
});
