import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { hasRedis, startRedis } from "../support/redis.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "limits-"));
});
afterAll(() => rm(folder, { recursive: true }));

let folders = 0;
/** A configuration with these limits. */
async function limitedTo(limits: string): Promise<Record<string, string>> {
  const directory = await mkdtemp(join(folder, `${folders++}-`));
  await writeFile(join(directory, "security.yaml"), `rate_limits: ${limits}\n`);
  return { CONFIG_DIR: directory };
}

const accounts = (app: TestApp, key = app.adminKey, headers: Record<string, string> = {}) =>
  call(app.url, "GET", "/analytics/keys", { key, headers });

async function makeKey(app: TestApp): Promise<string> {
  const made = await call(app.url, "POST", "/analytics/keys", {
    key: app.adminKey,
    body: { name: "other", role: "admin" },
  });
  expect(made.status).toBe(201);
  return made.json.key;
}

describe("an answer", () => {
  it("says what is left, and 429 says when to go on, which then succeeds", async () => {
    await using app = await startTestApp({ env: await limitedTo("{ default: 60, burst: 2 }") });
    const first = await accounts(app);
    expect(first.status).toBe(200);
    expect(first.headers.get("ratelimit-policy")).toBe('"default";q=2;w=2');
    expect(first.headers.get("ratelimit")).toBe('"default";r=1;t=1');
    await accounts(app);
    const refused = await accounts(app);
    expect(refused.status).toBe(429);
    expect(refused.json).toMatchObject({ code: "rate_limited", status: 429 });
    expect(refused.headers.get("content-type")).toBe("application/problem+json");
    expect(refused.headers.get("ratelimit")).toBe('"default";r=0;t=1');
    const seconds = refused.headers.get("retry-after")!;
    expect(seconds).toBe("1");
    // What a client is told to do: the wait is what is tested.
    await delay(Number(seconds) * 1000);
    expect((await accounts(app)).status).toBe(200);
  });

  it("counts for the key, whatever address a header claims and however the path is written", async () => {
    await using app = await startTestApp({ env: await limitedTo("{ default: 1, burst: 3 }") });
    const other = await makeKey(app);
    expect((await accounts(app)).status).toBe(200);
    expect((await call(app.url, "GET", "/analytics/keys/?x=1", { key: app.adminKey })).status).not.toBe(429);
    expect((await accounts(app, app.adminKey, { "x-forwarded-for": "203.0.113.9" })).status).toBe(429);
    expect((await call(app.url, "GET", "/analytics/keys/", { key: app.adminKey })).status).toBe(429);
    expect((await accounts(app, other)).status).toBe(200);
  });

  it("counts health for the address, and events not at all", async () => {
    await using app = await startTestApp({ env: await limitedTo("{ default: 1, burst: 1, health: 1 }") });
    const live = (forwarded: string) =>
      call(app.url, "GET", "/analytics/health/live", { headers: { "x-forwarded-for": forwarded } });
    const statuses = [await live("1.1.1.1"), await live("2.2.2.2"), await live("3.3.3.3")];
    expect(statuses.map(({ status }) => status)).toEqual([200, 200, 429]);
    for (let i = 0; i < 5; i++) {
      const sent = await call(app.url, "POST", "/analytics/events", {
        key: app.adminKey,
        body: { events: [] },
      });
      expect(sent.status).toBe(200);
      expect(sent.headers.has("ratelimit")).toBe(false);
    }
  });

  it("bounds failed attempts by address and lets the right key through all the same", async () => {
    await using app = await startTestApp({ env: await limitedTo("{ auth: 1 }") });
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await accounts(app, `wrong-key-${i}-0123456789`)).status);
    expect(statuses).toEqual([401, 401, 429, 429]);
    expect((await accounts(app)).status).toBe(200);
    const login = await call(app.url, "POST", "/admin/login", {
      raw: "key=wrong",
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });
    expect(login.status).toBe(429);
  });

  it("has no limit where it is 0", async () => {
    await using app = await startTestApp({ env: await limitedTo("{ default: 0, burst: 1 }") });
    for (let i = 0; i < 3; i++) expect((await accounts(app)).headers.has("ratelimit")).toBe(false);
  });

  it("gives every process its part when there is no Redis", async () => {
    const env = await limitedTo("{ default: 2, burst: 4 }");
    await writeFile(join(env.CONFIG_DIR!, "performance.yaml"), "worker_processes: 2\n");
    await using app = await startTestApp({ env });
    const statuses = [await accounts(app), await accounts(app), await accounts(app)];
    expect(statuses.map(({ status }) => status)).toEqual([200, 200, 429]);
  });
});

describe.runIf(hasRedis)("with Redis", () => {
  it("two processes share a bucket exactly: of 2,000 calls at once 200 are allowed", async () => {
    const redis = await startRedis();
    const env = { ...(await limitedTo("{ default: 1, burst: 200 }")), REDIS_URL: redis.url };
    await using first = await startTestApp({ env });
    await using second = await startTestApp({
      env: { ...env, API_KEY: first.adminKey },
      databaseUrl: first.databaseUrl,
    });
    const started = performance.now();
    const statuses = await Promise.all(
      Array.from(
        { length: 2_000 },
        async (_, i) => (await accounts(i % 2 ? first : second, first.adminKey)).status,
      ),
    );
    const refilled = Math.floor((performance.now() - started) / 60_000);
    const allowed = statuses.filter((status) => status === 200).length;
    expect(allowed).toBeGreaterThanOrEqual(200);
    expect(allowed).toBeLessThanOrEqual(200 + refilled);
    expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([]);

    await redis.kill();
    expect((await accounts(first)).headers.get("ratelimit")).toBe('"default";r=199;t=60');
    expect((await accounts(first)).headers.get("ratelimit")).toBe('"default";r=198;t=60');
    await redis.stop();
  });
});
