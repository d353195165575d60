import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { defaultRetention } from "../../src/analytics/retention.js";
import { metricsCacheOf } from "../../src/api/metrics-cache/metrics-cache.js";
import { createRedisAnswers } from "../../src/api/metrics-cache/redis-answers.js";
import { sendAnswer } from "../../src/api/metrics-cache/send-answer.js";
import { type Route, route } from "../../src/api/route.js";
import { apiRoutes } from "../../src/api/routes/index.js";
import type { Context } from "../../src/context.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { retainAccount } from "../../src/db/retention/retain-account.js";
import { buildWantedZone } from "../../src/db/rollups/zones.js";
import { type CallOptions, call, startTestApp, type TestApp } from "../support/app.js";
import { silentLog } from "../support/postgres.js";
import { hasRedis, startRedis, type TestRedis } from "../support/redis.js";
import { storeEvents } from "../support/stored-events.js";

const day = { from: "2025-03-01T00:00:00Z", to: "2025-03-02T00:00:00Z" };

let app: TestApp;
let second: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  second = await startTestApp({ databaseUrl: app.databaseUrl, env: { API_KEY: app.adminKey } });
});
afterAll(async () => {
  await second?.close();
  await app?.close();
});

let made = 0;
async function newAccount(body: Record<string, unknown> = {}): Promise<string> {
  const accountId = `account-${++made}`;
  const created = await admin("POST", "/analytics/accounts", { account_id: accountId, ...body });
  expect(created.status).toBe(201);
  return accountId;
}
const admin = (method: string, path: string, body?: unknown) =>
  call(app.url, method, path, { key: app.adminKey, body });

/** `count` more messages, counted as soon as it resolves. */
async function send(accountId: string, count: number, context = app.context): Promise<void> {
  const events = Array.from({ length: count }, () => ({
    account_id: accountId,
    type: "message.sent" as const,
    message_id: `m${++made}`,
    occurred_at: "2025-03-01T10:00:00Z",
  }));
  await storeEvents(context.db, accountId, events);
  await foldBatch(context.db, accountId, { limit: 1_000 });
}

const ask = (
  accountId: string,
  { to = app, more = {}, ...options }: CallOptions & { to?: TestApp; more?: Record<string, string> } = {},
) => {
  const query = new URLSearchParams({ account_id: accountId, ...day, metrics: "messages_sent", ...more });
  return call(to.url, "GET", `/analytics/metrics?${query}`, { key: app.adminKey, ...options });
};
const sentOf = (reply: { json: { totals: { messages_sent: number }[] } }) =>
  reply.json.totals[0]!.messages_sent;
const statusOf = (reply: { headers: Headers }) => reply.headers.get("cache-status");
const computed = (context = app.context) => metricsCacheOf(context).describe().computed as number;

/** An application with this `metrics_cache` in its configuration. */
async function startWith(metricsCache: string, options: Parameters<typeof startTestApp>[0] = {}) {
  const folder = await mkdtemp(join(tmpdir(), "cache-"));
  await writeFile(join(folder, "performance.yaml"), `metrics_cache: ${metricsCache}\n`);
  await writeFile(join(folder, "security.yaml"), "rate_limits: { metrics: 0, default: 0 }\n");
  const env = { API_KEY: app.adminKey, CONFIG_DIR: folder, ...options.env };
  const started = await startTestApp({ databaseUrl: app.databaseUrl, ...options, env });
  onTestFinished(async () => {
    await started.close();
    await rm(folder, { recursive: true });
  });
  return started;
}

describe("a cached answer", () => {
  it("is never older than the last fold, on any process", { timeout: 120_000 }, async () => {
    const accountId = await newAccount();
    let total = 0;
    const step = fc.record({
      count: fc.integer({ min: 1, max: 5 }),
      folds: fc.constantFrom(app, second),
      asks: fc.array(fc.constantFrom(app, second), { minLength: 1, maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        for (const { count, folds, asks } of steps) {
          for (const to of [app, second]) expect(sentOf(await ask(accountId, { to }))).toBe(total);
          await send(accountId, count, folds.context);
          total += count;
          const replies = await Promise.all(asks.map((to) => ask(accountId, { to })));
          expect(replies.map(sentOf)).toEqual(asks.map(() => total));
        }
      }),
      { numRuns: 15, endOnFailure: true },
    );
  });

  it("never goes back while folds commit between requests", async () => {
    const accountId = await newAccount();
    let committed = 0;
    let folding = true;
    const folds = (async () => {
      for (let i = 0; i < 30; i++) {
        await send(accountId, 1);
        committed++;
      }
      folding = false;
    })();
    const reader = async (to: TestApp) => {
      while (folding) {
        const atLeast = committed;
        expect(sentOf(await ask(accountId, { to }))).toBeGreaterThanOrEqual(atLeast);
      }
    };
    await Promise.all([folds, ...[app, app, app, second, second, second].map(reader)]);
    expect(sentOf(await ask(accountId))).toBe(30);
  });

  it("says where it comes from, and keeps its as_of", async () => {
    const accountId = await newAccount();
    const first = await ask(accountId);
    const again = await ask(accountId);
    expect([first, again].map(statusOf)).toEqual(["analytics; fwd=miss", "analytics; hit"]);
    expect(again.text).toBe(first.text);
    expect(first.headers.get("cache-control")).toBe("private, no-cache");
    expect(first.headers.get("vary")).toBe("Authorization, X-API-Key");
    expect(first.headers.get("content-type")).toBe("application/json; charset=utf-8");
    const { json } = await admin("GET", "/analytics/diagnostics");
    expect(json.metrics_cache).toMatchObject({ shared_store: "none", limit_bytes: 64 * 1024 * 1024 });
    expect(json.metrics_cache.memory_hits).toBeGreaterThan(0);
    expect(json.metrics_cache.hit_ratio).toBeGreaterThan(0);
  });

  it("is found for the same question written otherwise, and only for the same", async () => {
    const accountId = await newAccount();
    const base = { "filter[template]": "a,b", "filter[channel_id]": "c" };
    await ask(accountId, { more: base });
    const status = async (more: Record<string, string>) => statusOf(await ask(accountId, { more }));
    const same = {
      "filter[channel_id]": "c,c",
      "filter[template]": "b,a",
      interval: "day",
      time_zone: "UTC",
    };
    expect(await status({ ...same, from: "2025-03-01T01:00:00+01:00" })).toBe("analytics; hit");
    for (const other of [
      { "filter[template]": "a" },
      { "filter[template]": "a,b," },
      { basis: "event" },
      { interval: "hour" },
      { group_by: "template" },
      { metrics: "messages_sent,messages_read" },
      { metrics: "messages_read,messages_sent" },
      { time_zone: "Europe/Berlin" },
    ])
      expect([other, await status({ ...base, ...other })]).toEqual([other, "analytics; fwd=miss"]);
  });

  it("is computed again when nothing but an opt-out was counted", async () => {
    const accountId = await newAccount();
    const optOuts = () => ask(accountId, { more: { metrics: "opt_outs" } });
    expect((await optOuts()).json.totals).toEqual([{ opt_outs: 0 }]);
    const event = {
      account_id: accountId,
      type: "preference.changed" as const,
      contact_id: "ann",
      occurred_at: "2025-03-01T10:00:00Z",
      change: { kind: "marketing", value: "stop" },
    };
    await storeEvents(app.context.db, accountId, [event]);
    await foldBatch(app.context.db, accountId, { limit: 1_000 });
    const reply = await optOuts();
    expect([statusOf(reply), reply.json.totals]).toEqual(["analytics; fwd=miss", [{ opt_outs: 1 }]]);
  });

  it("is not the answer of another tenant", async () => {
    const [mine, theirs] = [await newAccount(), await newAccount()];
    await send(mine, 2);
    await send(theirs, 3);
    for (let i = 0; i < 2; i++) {
      expect((await ask(mine)).json).toMatchObject({ account_id: mine, totals: [{ messages_sent: 2 }] });
      expect((await ask(theirs)).json).toMatchObject({ account_id: theirs, totals: [{ messages_sent: 3 }] });
    }
  });

  it("is not for who may not see the account", async () => {
    const [mine, theirs] = [await newAccount(), await newAccount()];
    const etag = (await ask(theirs)).headers.get("etag")!;
    const keyOf = async (role: string) =>
      (await admin("POST", "/analytics/keys", { name: role, role, account_ids: [mine] })).json.key;
    const viewer = await keyOf("viewer");
    const headers = { "if-none-match": etag };
    const refused = await ask(theirs, { key: viewer, headers });
    expect([refused.status, refused.json.code, statusOf(refused)]).toEqual([404, "account_not_found", null]);
    expect((await ask(mine, { key: viewer })).status).toBe(200);
    expect((await ask(mine, { key: await keyOf("ingest"), headers })).status).toBe(403);
    expect((await ask(theirs, { key: "wrong", headers })).status).toBe(401);
  });

  it("is not remembered for an account that does not exist yet", async () => {
    const accountId = `account-${made + 1}`;
    for (const to of [app, second]) expect((await ask(accountId, { to })).status).toBe(404);
    expect(await newAccount()).toBe(accountId);
    for (const to of [app, second]) expect((await ask(accountId, { to })).status).toBe(200);
  });

  it("follows the account's time zone at once", async () => {
    const accountId = await newAccount({ time_zone: "UTC" });
    expect((await ask(accountId, { to: second })).json.time_zone).toBe("UTC");
    await admin("PATCH", `/analytics/accounts/${accountId}`, { time_zone: "Asia/Tokyo" });
    await buildWantedZone(second.context.db, accountId, new AbortController().signal);
    const { json } = await ask(accountId, { to: second });
    expect(json.time_zone).toBe("Asia/Tokyo");
    expect(json.rows.map((row: { bucket: string }) => row.bucket)).toEqual([
      "2025-02-28T15:00:00.000Z",
      "2025-03-01T15:00:00.000Z",
    ]);
  });

  it("is refused in every spelling once its days are gone", async () => {
    const accountId = await newAccount();
    await send(accountId, 1);
    const spelt = () => [
      ask(accountId),
      ask(accountId, { to: second }),
      ask(accountId, { more: { from: "2025-03-01T01:00:00+01:00" } }),
    ];
    const retain = (days: number | null) =>
      retainAccount(app.context.db, accountId, {
        retention: { ...defaultRetention, quarters_days: 100, days_days: days },
        now: new Date("2025-06-20T00:00:00Z"),
        signal: new AbortController().signal,
        hasTime: () => true,
        leaveMonthsToPartitions: false,
      });
    await retain(null);
    for (const reply of await Promise.all(spelt())) expect(sentOf(reply)).toBe(1);
    await retain(100);
    for (const reply of await Promise.all(spelt()))
      expect([reply.status, reply.json.code]).toEqual([400, "not_kept"]);
  });

  it("is computed once for all who ask at a time", async () => {
    const accountId = await newAccount();
    const before = computed();
    const replies = await Promise.all(Array.from({ length: 40 }, () => ask(accountId)));
    expect(computed() - before).toBe(1);
    expect(new Set(replies.map((reply) => reply.text)).size).toBe(1);
  });

  it("is computed again when it is too old", async () => {
    const short = await startWith("{ ttl: 1 }");
    const accountId = await newAccount();
    const first = await ask(accountId, { to: short });
    expect(statusOf(await ask(accountId, { to: short }))).toBe("analytics; hit");
    const startedAt = performance.now();
    const next = await vi.waitFor(
      async () => {
        const reply = await ask(accountId, { to: short });
        expect(reply.json.as_of).not.toBe(first.json.as_of);
        return reply;
      },
      { timeout: 5_000, interval: 25 },
    );
    expect(performance.now() - startedAt).toBeGreaterThan(700);
    expect(next.headers.get("etag")).not.toBe(first.headers.get("etag"));
    expect(next.json.totals).toEqual(first.json.totals);
  });

  it("is of its minute where it is divided by the time that has passed", async () => {
    let now = new Date();
    const timed = await startWith("{ ttl: 600 }", { now: () => now });
    const accountId = await newAccount();
    const ahead = { to: "2099-01-01T00:00:00Z", interval: "all" };
    const questions = {
      "queue_throughput,queue_depth": ahead,
      queue_drain_time: ahead,
      queue_depth: ahead,
      queue_throughput: {},
    };
    const statuses = async () => {
      const replies = Object.entries(questions).map(([metrics, more]) =>
        ask(accountId, { to: timed, more: { ...more, metrics } }),
      );
      return (await Promise.all(replies)).map(statusOf);
    };
    await statuses();
    now = new Date(now.getTime() + 60_000);
    const [hit, miss] = ["analytics; hit", "analytics; fwd=miss"];
    expect(await statuses()).toEqual([miss, miss, hit, hit]);
    expect(await statuses()).toEqual([hit, hit, hit, hit]);
  });

  it("does not exist when the cache is off", async () => {
    for (const settings of ["{ memory_mb: 0 }", "{ ttl: 0 }"]) {
      const off = await startWith(settings);
      const accountId = await newAccount();
      for (let i = 0; i < 2; i++) {
        const reply = await ask(accountId, { to: off });
        expect([reply.status, statusOf(reply)]).toEqual([200, "analytics; fwd=miss"]);
      }
    }
  });
});

describe("a validator", () => {
  it("is answered 304 while nothing changed, 200 once something did", async () => {
    const accountId = await newAccount();
    const etag = (await ask(accountId)).headers.get("etag")!;
    expect(etag).toMatch(/^"[\w-]+"$/);
    const status = async (header: string) =>
      (await ask(accountId, { headers: { "if-none-match": header } })).status;
    for (const known of [etag, `W/${etag}`, `"x", ${etag}`, `"x",W/${etag} ,"y"`, "*"])
      expect([known, await status(known)]).toEqual([known, 304]);
    for (const unknown of ['"x"', etag.slice(1, -1), `"${etag}"`, "", "**"])
      expect([unknown, await status(unknown)]).toEqual([unknown, 200]);
    const unchanged = await ask(accountId, { headers: { "if-none-match": etag } });
    expect(unchanged.text).toBe("");
    expect(unchanged.headers.get("etag")).toBe(etag);
    expect(unchanged.headers.get("cache-control")).toBe("private, no-cache");
    expect(unchanged.headers.get("content-type")).toBeNull();
    await send(accountId, 1);
    const changed = await ask(accountId, { headers: { "if-none-match": etag } });
    expect([changed.status, sentOf(changed)]).toEqual([200, 1]);
  });
});

describe("any question about an account", () => {
  let waiting = 0;
  let left = 0;
  /** A route of its own whose answers the test decides on. */
  async function startAsking(compute: (now: Date) => Promise<unknown>, now?: () => Date) {
    const routes = (context: Context): Route[] => [
      ...apiRoutes(context),
      route({
        method: "get",
        path: "/asked/:accountId",
        access: ["viewer"],
        async handler(request, response) {
          const account = await metricsCacheOf(context).account(String(request.params.accountId));
          waiting++;
          request.abandoned.addEventListener("abort", () => left++);
          const question = { account, parts: "asked", dependsOnNow: now !== undefined, compute };
          await sendAnswer(context, request, response, question);
        },
      }),
    ];
    return startWith("{ ttl: 60 }", { routes, ...(now ? { now } : {}) });
  }
  const asked = (to: TestApp, accountId: string, signal?: AbortSignal) =>
    fetch(`${to.url}/asked/${accountId}`, {
      headers: { authorization: `Bearer ${app.adminKey}` },
      ...(signal ? { signal } : {}),
    });

  it("that fails is not remembered", async () => {
    let times = 0;
    const failing = await startAsking(async () => {
      if (++times === 1) throw new Error("the first time it fails");
      return { times };
    });
    const accountId = await newAccount();
    expect((await asked(failing, accountId)).status).toBe(500);
    expect(await (await asked(failing, accountId)).json()).toEqual({ times: 2 });
    expect(await (await asked(failing, accountId)).json()).toEqual({ times: 2 });
  });

  it("is computed to its end for the others when the first to ask leaves", async () => {
    let times = 0;
    [waiting, left] = [0, 0];
    let finish = () => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const slow = await startAsking(async () => {
      times++;
      await finished;
      return "done";
    });
    const accountId = await newAccount();
    const leaves = new AbortController();
    const first = asked(slow, accountId, leaves.signal);
    await vi.waitFor(() => expect(times).toBe(1));
    const other = asked(slow, accountId);
    await vi.waitFor(() => expect(waiting).toBe(2));
    leaves.abort();
    await expect(first).rejects.toThrow();
    await vi.waitFor(() => expect(left).toBe(1));
    finish();
    const reply = await other;
    expect([await reply.json(), reply.headers.get("cache-status")]).toEqual([
      "done",
      "analytics; fwd=miss; collapsed",
    ]);
    expect(times).toBe(1);
  });

  it("that depends on the time holds for its minute", async () => {
    let now = new Date("2025-03-01T10:00:10.500Z");
    const dated = await startAsking(
      async (at) => at.toISOString(),
      () => now,
    );
    const accountId = await newAccount();
    const answers: unknown[] = [];
    for (const time of ["10:00:10", "10:00:59", "10:01:00"]) {
      now = new Date(`2025-03-01T${time}.500Z`);
      const reply = await asked(dated, accountId);
      answers.push([await reply.json(), reply.headers.get("cache-status")]);
    }
    expect(answers).toEqual([
      ["2025-03-01T10:00:00.000Z", "analytics; fwd=miss"],
      ["2025-03-01T10:00:00.000Z", "analytics; hit"],
      ["2025-03-01T10:01:00.000Z", "analytics; fwd=miss"],
    ]);
  });
});

describe.runIf(hasRedis)("with Redis", () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.stop());
  const start = (settings = "{ memory_mb: 0 }") => startWith(settings, { env: { REDIS_URL: redis.url } });

  it("processes share their answers, exact as ever", async () => {
    const [one, other] = [await start(), await start("{}")];
    const accountId = await newAccount();
    const first = await ask(accountId, { to: one });
    const shared = await vi.waitFor(async () => {
      const reply = await ask(accountId, { to: other });
      expect(statusOf(reply)).toBe("analytics; hit; detail=shared");
      return reply;
    });
    expect(shared.text).toBe(first.text);
    expect(shared.headers.get("etag")).toBe(first.headers.get("etag"));
    expect(statusOf(await ask(accountId, { to: other }))).toBe("analytics; hit");
    for (let sent = 1; sent <= 5; sent++) {
      await send(accountId, 1);
      for (const to of [other, one]) expect(sentOf(await ask(accountId, { to }))).toBe(sent);
    }
  });

  it("processes of another build do not share", async () => {
    const answersOf = (build: string) => {
      const answers = createRedisAnswers({ url: redis.url, installationId: "i", build, log: silentLog });
      onTestFinished(() => answers.close());
      return answers;
    };
    const [old, next] = [answersOf("1"), answersOf("2")];
    old.set("question", Buffer.from("old"), 60_000);
    await vi.waitFor(async () => expect((await old.get("question"))?.bytes.toString()).toBe("old"));
    expect(await next.get("question")).toBeUndefined();
    expect(next.failures()).toBe(0);
  });

  it("does not share when it is told not to", async () => {
    const [one, other] = [await start(), await start("{ shared: false }")];
    const accountId = await newAccount();
    await ask(accountId, { to: one });
    expect(statusOf(await ask(accountId, { to: other }))).toBe("analytics; fwd=miss");
    expect(metricsCacheOf(other.context).describe().shared_store).toBe("none");
  });

  it.each(["freeze", "kill"] as const)("answers go on after a %s", async (fault) => {
    const one = await start();
    const accountId = await newAccount();
    const askOften = async () => {
      for (let i = 0; i < 20; i++) expect((await ask(accountId, { to: one })).status).toBe(200);
    };
    await askOften();
    if (fault === "freeze") redis.freeze();
    else await redis.kill();
    // Nobody thaws or restarts it before all of them are answered.
    await askOften();
    if (fault === "freeze") redis.thaw();
    else await redis.restart();
    await send(accountId, 1);
    expect(sentOf(await ask(accountId, { to: one }))).toBe(1);
    await vi.waitFor(
      async () => expect(statusOf(await ask(accountId, { to: one }))).toBe("analytics; hit; detail=shared"),
      { timeout: 10_000, interval: 50 },
    );
  });
});
