import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from "vitest";
import type { StreamTimings } from "../../src/api/metrics-stream/watch.js";
import { apiRoutes } from "../../src/api/routes/index.js";
import { metricsStreamRoutes } from "../../src/api/routes/metrics-stream.js";
import type { Context } from "../../src/context.js";
import { createDb, createPool } from "../../src/db/client.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { buildWantedZone } from "../../src/db/rollups/zones.js";
import { startWorkers, type Workers } from "../../src/workers/start-workers.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { type EventStream, openEventStream } from "../support/event-stream.js";
import { storeEvents } from "../support/stored-events.js";

const UPDATED_WITHIN_MS = 2_000;
const DAY_MS = 86_400_000;
const day = { from: "2025-03-01T00:00:00Z", to: "2025-03-02T00:00:00Z" };

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app?.close());

let made = 0;
async function newAccount(): Promise<string> {
  const accountId = `account-${++made}`;
  await admin("POST", "/analytics/accounts", { account_id: accountId });
  return accountId;
}
const admin = (method: string, path: string, body?: unknown) =>
  call(app.url, method, path, { key: app.adminKey, body });
const eventOf = (accountId: string) => ({
  account_id: accountId,
  type: "message.sent" as const,
  message_id: `m${++made}`,
  occurred_at: "2025-03-01T10:00:00Z",
});

/** One message more, counted as soon as it resolves. */
async function send(accountId: string, db = app.context.db): Promise<void> {
  await storeEvents(db, accountId, [eventOf(accountId)]);
  await foldBatch(db, accountId, { limit: 1_000 });
}

async function onServer(text: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject("postgresUrl") });
  await client.connect();
  await client.query(text).finally(() => client.end());
}

/** Another process of the installation. */
async function startOther(
  timings: Partial<StreamTimings> = {},
  more: Record<string, string> = {},
  now = () => new Date(),
) {
  const routes = (context: Context) => {
    // The first to ask for the streams of a process decides on their timings.
    metricsStreamRoutes(context, timings);
    return apiRoutes(context);
  };
  const env = { API_KEY: app.adminKey, ...more };
  const other = await startTestApp({ databaseUrl: app.databaseUrl, env, routes, now });
  onTestFinished(() => other.close());
  return other;
}

interface Opening {
  to?: TestApp;
  key?: string;
  more?: Record<string, string>;
  headers?: Record<string, string>;
}
async function open(accountId: string, { to = app, key = app.adminKey, more, headers }: Opening = {}) {
  const query = new URLSearchParams({ account_id: accountId, ...day, metrics: "messages_sent", ...more });
  const stream = await openEventStream(to.url, `/analytics/metrics/stream?${query}`, {
    authorization: `Bearer ${key}`,
    ...headers,
  });
  onTestFinished(() => stream.close());
  return stream;
}

const eventually = (check: () => void | Promise<void>, timeout = 5_000) =>
  vi.waitFor(check, { timeout, interval: 10 });
const sentOf = (stream: EventStream) => stream.events.map(({ data }) => data.totals[0].messages_sent);

describe("GET /analytics/metrics/stream", () => {
  it("sends the metrics at once, without rows unless they are asked for", async () => {
    const accountId = await newAccount();
    await send(accountId);
    const stream = await open(accountId);
    await eventually(() => expect(stream.events).toHaveLength(1));
    expect(stream.status).toBe(200);
    expect(stream.headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    expect(stream.headers).not.toHaveProperty("content-encoding");
    expect(stream.retryMs).toBe(2_000);
    const query = new URLSearchParams({ account_id: accountId, ...day, metrics: "messages_sent" });
    const { json } = await admin("GET", `/analytics/metrics?${query}`);
    const { rows, ...totals } = json;
    expect(stream.events[0]).toMatchObject({ event: "metrics", id: expect.stringMatching(/^\d+\.\d+$/) });
    expect(stream.events[0]!.data).toEqual({ ...totals, as_of: expect.any(String) });
    const full = await open(accountId, { more: { rows: "true" } });
    await eventually(() => expect(full.events).toHaveLength(1));
    expect(full.events[0]!.data).toEqual({ ...json, rows });
  });

  it("refuses what cannot be streamed as the answer to the request", async () => {
    const accountId = await newAccount();
    const status = async (account: string, opening: Opening = {}) => (await open(account, opening)).status;
    expect(await status("nobody")).toBe(404);
    expect(await status(accountId, { more: { rows: "maybe" } })).toBe(400);
    expect(await status(accountId, { more: { page: "1" } })).toBe(400);
    expect(await status(accountId, { more: { to: day.from } })).toBe(400);
    expect(await status(accountId, { key: "wrong" })).toBe(401);
    const keyOf = async (role: string, account: string) =>
      (await admin("POST", "/analytics/keys", { name: role, role, account_ids: [account] })).json.key;
    expect(await status(accountId, { key: await keyOf("ingest", accountId) })).toBe(403);
    expect(await status(accountId, { key: await keyOf("viewer", await newAccount()) })).toBe(404);
  });

  it("sends every change, and after a break only what is news", async () => {
    const accountId = await newAccount();
    const stream = await open(accountId);
    await eventually(() => expect(sentOf(stream)).toEqual([0]));
    for (const total of [1, 2, 3]) {
      await send(accountId);
      await eventually(() => expect(sentOf(stream).at(-1)).toBe(total));
    }
    const { id } = stream.events.at(-1)!;
    stream.close();
    const resumed = await open(accountId, { headers: { "last-event-id": id! } });
    const stale = await open(accountId, { headers: { "last-event-id": stream.events[0]!.id! } });
    await eventually(() => expect(sentOf(stale)).toEqual([3]));
    expect(resumed.retryMs).toBe(2_000);
    expect(resumed.events).toEqual([]);
    await send(accountId);
    await eventually(() => expect(sentOf(resumed)).toEqual([4]));
  });

  it("goes on with the minutes where the answer depends on the time, and with them alone after a break", async () => {
    let now = new Date();
    const other = await startOther({ pollMs: 10 }, {}, () => now);
    const accountId = await newAccount();
    await storeEvents(app.context.db, accountId, [
      {
        ...eventOf(accountId),
        type: "message.queued",
        occurred_at: new Date(Date.now() - 60_000).toISOString(),
      },
    ]);
    await foldBatch(app.context.db, accountId, { limit: 1_000 });
    const midnight = (days: number) =>
      new Date(Math.floor(Date.now() / DAY_MS + days) * DAY_MS).toISOString();
    const asked = { from: midnight(-2), to: midnight(2), interval: "all" };
    const age = { to: other, more: { ...asked, metrics: "queue_oldest_age" } };
    const [aged, ageless] = [await open(accountId, age), await open(accountId, { to: other })];
    await eventually(() => expect([aged, ageless].map(({ events }) => events.length)).toEqual([1, 1]));
    now = new Date(now.getTime() + 60_000);
    await eventually(() => expect(aged.events).toHaveLength(2));
    const [first, second] = aged.events;
    expect(second!.id).not.toBe(first!.id);
    expect(second!.data.totals[0].queue_oldest_age).toBeGreaterThan(first!.data.totals[0].queue_oldest_age);
    aged.close();
    const back = await open(accountId, { ...age, headers: { "last-event-id": second!.id! } });
    const late = await open(accountId, { ...age, headers: { "last-event-id": first!.id! } });
    await eventually(() => expect(late.events.map(({ id }) => id)).toEqual([second!.id]));
    now = new Date(now.getTime() + 60_000);
    await eventually(() => expect([back, late].map(({ events }) => events.length)).toEqual([1, 2]));
    await send(accountId, app.context.db);
    await eventually(() => expect(back.events).toHaveLength(2));
    await eventually(() => expect(sentOf(ageless)).toEqual([0, 1]));
  });

  it("computes a question once for all who follow it", async () => {
    const accountId = await newAccount();
    const other = await startOther();
    const streams = await Promise.all(Array.from({ length: 20 }, () => open(accountId, { to: other })));
    await eventually(() => expect(streams.map(sentOf)).toEqual(streams.map(() => [0])));
    await send(accountId);
    await eventually(() =>
      expect(streams.map((stream) => sentOf(stream).at(-1))).toEqual(streams.map(() => 1)),
    );
    const { json } = await call(other.url, "GET", "/analytics/diagnostics", { key: app.adminKey });
    expect(json.metrics_cache.computed).toBe(2);
    expect(json.metrics_streams).toEqual({ open: 20, questions: 1, dropped: 0 });
    for (const stream of streams) stream.close();
    await eventually(async () => {
      const { json } = await call(other.url, "GET", "/analytics/diagnostics", { key: app.adminKey });
      expect(json.metrics_streams).toEqual({ open: 0, questions: 0, dropped: 0 });
    });
  });

  it("follows the account's time zone", async () => {
    const accountId = await newAccount();
    const stream = await open(accountId);
    await admin("PATCH", `/analytics/accounts/${accountId}`, { time_zone: "Asia/Tokyo" });
    await buildWantedZone(app.context.db, accountId, new AbortController().signal);
    await eventually(() => expect(stream.events.at(-1)?.data.time_zone).toBe("Asia/Tokyo"));
  });

  it("sends comments while nothing changes", async () => {
    const accountId = await newAccount();
    const stream = await open(accountId, { to: await startOther({ heartbeatMs: 30 }) });
    await eventually(() => expect(stream.comments.length).toBeGreaterThan(3));
    expect(stream.events).toHaveLength(1);
  });

  it("ends when its key is revoked or expires, for that key alone", async () => {
    const accountId = await newAccount();
    const other = await startOther({ identityMs: 50 });
    const keyOf = async (more: object) =>
      (await admin("POST", "/analytics/keys", { name: "k", role: "viewer", ...more })).json;
    const revoked = await keyOf({ account_ids: [accountId] });
    const expiring = await keyOf({ expires_at: new Date(Date.now() + 1_500).toISOString() });
    const valid = await keyOf({});
    const [first, second, ...others] = await Promise.all(
      [revoked.key, expiring.key, valid.key, app.adminKey].map((key) => open(accountId, { to: other, key })),
    );
    await admin("DELETE", `/analytics/keys/${revoked.id}`);
    await eventually(() => expect(first!.hasEnded()).toBe(true));
    expect(first!.comments.at(-1)).toMatch("no longer valid");
    await eventually(() => expect(second!.hasEnded()).toBe(true));
    await send(accountId);
    for (const stream of others) await eventually(() => expect(sentOf(stream).at(-1)).toBe(1));
  });

  it("ends at once when the process drains", async () => {
    const accountId = await newAccount();
    const other = await startOther({}, { SHUTDOWN_GRACE_MS: "20000" });
    const streams = await Promise.all([open(accountId, { to: other }), open(accountId, { to: other })]);
    const startedAt = performance.now();
    await other.drain();
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    for (const stream of streams) {
      await eventually(() => expect(stream.hasEnded()).toBe(true));
      expect(stream.comments.at(-1)).toMatch("the process ends");
    }
  });

  it("is refused above the limits of the process and of a key", async () => {
    const folder = await mkdtemp(join(tmpdir(), "streams-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, "security.yaml"), "rate_limits: { metrics: 0, default: 0 }\n");
    const limits = "metrics_stream: { max_streams: 3, max_streams_per_key: 2 }\n";
    await writeFile(join(folder, "performance.yaml"), limits);
    const other = await startOther({}, { CONFIG_DIR: folder });
    const accountId = await newAccount();
    const { key } = (await admin("POST", "/analytics/keys", { name: "k", role: "viewer" })).json;
    const [first] = [await open(accountId, { to: other, key }), await open(accountId, { to: other, key })];
    const ofKey = await open(accountId, { to: other, key });
    expect([ofKey.status, ofKey.headers["retry-after"]]).toEqual([429, "5"]);
    expect((await open(accountId, { to: other })).status).toBe(200);
    const ofProcess = await open(accountId, { to: other });
    expect([ofProcess.status, ofProcess.headers["retry-after"]]).toEqual([503, "5"]);
    first.close();
    await eventually(async () => expect((await open(accountId, { to: other, key })).status).toBe(200));
  });

  it("outlives a database that is away, and goes on after it", async () => {
    const accountId = await newAccount();
    const other = await startOther({ heartbeatMs: 50, identityMs: 50 });
    const stream = await open(accountId, { to: other });
    await eventually(() => expect(stream.events).toHaveLength(1));
    const pool = createPool(
      { url: app.databaseUrl, name: "stays", size: 1, statementTimeoutMs: 0 },
      () => {},
    );
    onTestFinished(() => pool.end());
    await pool.query("select 1");
    const database = new URL(app.databaseUrl).pathname.slice(1);
    const allowConnections = (allowed: boolean) =>
      onServer(`alter database ${database} allow_connections ${allowed}`);
    await allowConnections(false);
    await onServer(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}' and application_name = 'api'`,
    );
    await send(accountId, createDb(pool));
    const comments = stream.comments.length;
    await eventually(() => expect(stream.comments.length).toBeGreaterThan(comments + 10));
    expect([sentOf(stream), stream.hasEnded()]).toEqual([[0], false]);
    await allowConnections(true);
    await eventually(() => expect(sentOf(stream)).toEqual([0, 1]));
  });
});

describe("a reader that stops reading", () => {
  it("is dropped, while others go on and nothing piles up", { timeout: 60_000 }, async () => {
    const accountId = await newAccount();
    const other = await startOther({ stalledMs: 400, pollMs: 50 });
    // Some megabytes an event, so that few of them fill the sockets on the way.
    const more = { rows: "true", interval: "15m", to: "2025-06-01T00:00:00Z", metrics: wide.join(",") };
    const [slow, fast] = [
      await open(accountId, { to: other, more }),
      await open(accountId, { to: other, more }),
    ];
    await eventually(() => expect([slow.events.length, fast.events.length]).toEqual([1, 1]));
    slow.stopReading();
    let total = 0;
    const dropped = async () =>
      (await call(other.url, "GET", "/analytics/diagnostics", { key: app.adminKey })).json.metrics_streams
        .dropped;
    while ((await dropped()) === 0 && total < 60) {
      await send(accountId);
      total++;
      await eventually(() => expect(sentOf(fast).at(-1)).toBe(total), 10_000);
    }
    expect(await dropped()).toBe(1);
    await send(accountId);
    await eventually(() => expect(sentOf(fast).at(-1)).toBe(total + 1));
    expect(fast.hasEnded()).toBe(false);
  });
  const wide = ["messages_sent", "messages_delivered", "messages_read", "messages_failed", "delivery_rate"];
});

describe("with a worker", () => {
  let workers: Workers;
  beforeAll(async () => {
    workers = await startWorkers(app.context);
  });
  afterAll(() => workers?.drain(2_000));

  it("an event shows on another process within two seconds of its acknowledgement", async () => {
    const accountId = await newAccount();
    const other = await startOther();
    const stream = await open(accountId, { to: other });
    await eventually(() => expect(stream.events).toHaveLength(1));
    for (const total of [1, 2, 3]) {
      const reply = await admin("POST", "/analytics/events", { events: [eventOf(accountId)] });
      expect(reply.json).toMatchObject({ accepted: 1 });
      await eventually(() => expect(sentOf(stream).at(-1)).toBe(total), UPDATED_WITHIN_MS);
    }
  });
});
