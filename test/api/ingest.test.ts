import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ingestOf } from "../../src/api/ingest/ingest.js";
import { createIntake } from "../../src/api/ingest/intake.js";
import { insertEvents } from "../../src/db/queries/insert-events.js";
import { migrateQueues } from "../../src/jobs/queue.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { openTestDb } from "../support/postgres.js";
import { countEvents, event, postEvents, postLines, scopedKey } from "./ingest-events.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

test("accepts, recognises duplicates in one request and across requests, and stores the row", async () => {
  const failed = event("stored", {
    type: "message.failed",
    error: { code: 131047 as never },
    template: { name: "order", language: "de" },
    tags: ['a"b', "c\\d"],
    pricing: { billable: false },
  });
  const first = await postEvents(app, [failed, event("x"), event("x")]);
  expect([first.status, first.json]).toEqual([
    200,
    { accepted: 2, duplicates: 1, rejected: [], rejected_total: 0 },
  ]);
  const again = await postEvents(app, [event("x"), event("y")]);
  expect(again.json).toEqual({ accepted: 1, duplicates: 1, rejected: [], rejected_total: 0 });
  const stored = await sql`select * from message_events where message_id = 'm-stored'`.execute(
    app.context.db,
  );
  expect(stored.rows[0]).toMatchObject({
    account_id: "acme",
    direction: "outbound",
    error_code: "131047",
    error_class: "window",
    template: "order",
    template_language: "de",
    tags: ['a"b', "c\\d"],
    pricing: { billable: false },
  });
});

test("the same request ten times in parallel: one row, ten times 200", async () => {
  const replies = await Promise.all(
    times(10, () => postEvents(app, [event("parallel", { account_id: "f24" })])),
  );
  expect(replies.map((reply) => reply.status)).toEqual(times(10, () => 200));
  expect(replies.reduce((sum, reply) => sum + reply.json.accepted, 0)).toBe(1);
  expect(await countEvents(app, "f24")).toBe(1);
});

describe("each bad event is refused alone", () => {
  const bad: [what: string, code: string, names: string, event: unknown][] = [
    ["an unknown type", "unknown_type", "type", { ...event(1), type: "message.exploded" }],
    ["an unknown field", "unknown_field", "colour", { ...event(1), colour: "red" }],
    [
      "an unknown nested field",
      "unknown_field",
      "template.size",
      event(1, { template: { name: "a", size: 1 } as never }),
    ],
    [
      "__proto__",
      "unknown_field",
      "__proto__",
      JSON.parse(`{"__proto__":1,${JSON.stringify(event(1)).slice(1)}`),
    ],
    ["no account", "missing_field", "account_id", { ...event(1), account_id: undefined }],
    ["no message", "missing_field", "message_id", { ...event(1), message_id: undefined }],
    ["no time", "missing_field", "occurred_at", { ...event(1), occurred_at: undefined }],
    ["null", "invalid_value", "JSON object", null],
    ["a list", "invalid_value", "JSON object", []],
    ["NUL", "invalid_text", "message_id", event("a\0b")],
    ["half a surrogate pair", "invalid_text", "chat_id", event(1, { chat_id: "\ud83d" })],
    ["an id of 513 characters", "too_long", "512", event(1, { message_id: "x".repeat(513) })],
    ["a text of 1 MB", "too_long", "64", event(1, { content_kind: "x".repeat(1_000_000) })],
    ["33 tags", "too_long", "32", event(1, { tags: times(33, String) })],
    ["an empty id", "invalid_value", "message_id", event(1, { message_id: "" })],
    ["year 10000", "invalid_value", "occurred_at", event(1, { occurred_at: "10000-01-01T00:00:00Z" })],
    ["30 February", "invalid_value", "occurred_at", event(1, { occurred_at: "2026-02-30T00:00:00Z" })],
    [
      "a time without a zone",
      "invalid_value",
      "occurred_at",
      event(1, { occurred_at: "2026-01-01T00:00:00" }),
    ],
    ["a negative time", "invalid_value", "occurred_at", event(1, { occurred_at: -1 as never })],
    ["2008", "time_out_of_range", "2009", event(1, { occurred_at: "2008-12-31T23:59:59.999Z" })],
    [
      "in two days",
      "time_out_of_range",
      "24 hours",
      event(1, { occurred_at: new Date(Date.now() + 2 * 86_400_000).toISOString() }),
    ],
    ["a fraction of a length", "invalid_value", "text_length", event(1, { text_length: 1.5 })],
    ["a code that is a list", "invalid_value", "error.code", event(1, { error: { code: [] as never } })],
  ];

  test.each(bad)("%s", async (_what, code, names, value) => {
    const reply = await postEvents(app, [value]);
    expect([reply.status, reply.json.rejected_total, reply.json.accepted]).toEqual([200, 1, 0]);
    expect(reply.json.rejected).toEqual([{ index: 0, code, message: expect.stringContaining(names) }]);
  });

  test("F26: one of each in 1,000: the others are stored", async () => {
    const events: unknown[] = times(1_000, (i) => event(i, { account_id: "f26" }));
    bad.forEach(([, , , value], i) => {
      events[i * 7 + 3] = value;
    });
    const reply = await postEvents(app, events);
    expect(reply.status).toBe(200);
    expect(reply.json.rejected.map((r: { index: number }) => r.index)).toEqual(bad.map((_, i) => i * 7 + 3));
    expect(await countEvents(app, "f26")).toBe(1_000 - bad.length);
  });

  test("all of 1,000", async () => {
    const reply = await postEvents(
      app,
      times(1_000, () => 1),
    );
    expect([reply.status, reply.json.rejected.length, reply.json.rejected_total]).toEqual([
      200, 1_000, 1_000,
    ]);
  });
});

test("events without a message need none; a late but tolerable clock is taken", async () => {
  const ahead = new Date(Date.now() + 23 * 3_600_000).toISOString();
  const preference = {
    account_id: "acme",
    type: "preference.changed",
    occurred_at: ahead,
    change: { kind: "a", value: "b" },
  };
  expect((await postEvents(app, [preference])).json.accepted).toBe(1);
});

test("a key of single accounts: foreign accounts and those that nobody made look the same", async () => {
  await postEvents(app, [event(1, { account_id: "mine" })]);
  const key = await scopedKey(app, ["mine"]);
  const events = [
    event(1, { account_id: "acme" }),
    event(2, { account_id: "mine" }),
    event(3, { account_id: "nowhere" }),
  ];
  const reply = await postEvents(app, events, key);
  expect(reply.json).toMatchObject({ accepted: 1, rejected_total: 2 });
  const refused = { code: "unknown_account", message: "account_id: there is no such account" };
  expect(reply.json.rejected).toEqual([
    { index: 0, ...refused },
    { index: 2, ...refused },
  ]);
});

test("an account in a key's scope that does not exist is refused in its place", async () => {
  const identity = { keyId: "k", name: "k", role: "ingest", accounts: new Set(["mine", "ghost"]) } as const;
  const intake = createIntake(ingestOf(app.context), identity, Date.now, { patient: false });
  [event("a", { account_id: "ghost" }), event("b", { account_id: "mine" }), 5].forEach((value, index) => {
    intake.take(value, index);
  });
  await intake.store();
  const { accepted, rejected } = intake.answer();
  expect([accepted, rejected.map(({ index, code }) => `${index} ${code}`)]).toEqual([
    1,
    ["0 unknown_account", "2 invalid_value"],
  ]);
  expect(await countEvents(app, "ghost")).toBe(0);
});

test.each([
  ["a list", "[]", {}, 400],
  ["no events", "{}", {}, 400],
  ["another field", '{"events":[],"x":1}', {}, 400],
  ["events that are no list", '{"events":{}}', {}, 400],
  ["no JSON", '{"events":[', {}, 400],
  ["nothing", "", {}, 400],
  ["200,000 levels", `{"events":${"[".repeat(200_000)}`, {}, 400],
  ["malformed UTF-8", Buffer.from([0x22, 0xc3, 0x28, 0x22]), {}, 400],
  ["over 3 MB", " ".repeat(3_000_001), {}, 413],
  ["a gzip bomb", gzipSync(Buffer.alloc(100_000_000)), { "content-encoding": "gzip" }, 413],
  ["gzip that is none", "{}", { "content-encoding": "gzip" }, 400],
  ["1,001 events", JSON.stringify({ events: times(1_001, () => event(1)) }), {}, 413],
  ["a form", "a=1", { "content-type": "application/x-www-form-urlencoded" }, 415],
  ["brotli", "{}", { "content-encoding": "br" }, 415],
])("%s is refused as a whole", async (_what, raw, headers, status) => {
  const started = performance.now();
  const reply = await call(app.url, "POST", "/analytics/events", {
    key: app.adminKey,
    raw,
    headers: { "content-type": "application/json", ...headers },
  });
  expect([reply.status, reply.headers.get("content-type")]).toEqual([status, "application/problem+json"]);
  expect(performance.now() - started).toBeLessThan(2_000);
});

test("JSON in gzip; no events at all", async () => {
  const raw = gzipSync(JSON.stringify({ events: [event("gzip")] }));
  const headers = { "content-type": "application/json", "content-encoding": "gzip" };
  const reply = await call(app.url, "POST", "/analytics/events", { key: app.adminKey, raw, headers });
  expect(reply.json.accepted).toBe(1);
  expect((await postEvents(app, [])).json).toEqual({
    accepted: 0,
    duplicates: 0,
    rejected: [],
    rejected_total: 0,
  });
});

test("200 requests that arrive while the database is busy share two commits", async () => {
  const { batcher } = ingestOf(app.context);
  await postEvents(app, [event("warm", { account_id: "batched" })]);
  const before = batcher.counts().flushes;
  const held = app.context.db.transaction().execute(async (trx) => {
    await sql`lock table message_events in exclusive mode`.execute(trx);
    const replies = times(200, (i) => postEvents(app, [event(i, { account_id: "batched" })]));
    await expect.poll(() => batcher.counts().waiting, { timeout: 10_000 }).toBe(200);
    return replies;
  });
  const replies = await Promise.all(await held);
  expect(replies.every((reply) => reply.json.accepted === 1)).toBe(true);
  expect(await countEvents(app, "batched")).toBe(201);
  expect(batcher.counts().flushes - before).toBeLessThan(5);
});

test("a row that the database refuses fails its own request only", async () => {
  const { batcher } = ingestOf(app.context);
  const row = (key: string, type: string) => ({
    accountId: "acme",
    eventKey: `00000000-0000-0000-0000-0000000000${key}`,
    keyHash: 1,
    occurredAtMs: Date.UTC(2026, 0, 1),
    timeQuality: 0,
    type,
  });
  const results = await Promise.allSettled([
    batcher.add([row("01", "message.sent")]),
    batcher.add([row("02", "no.such.type")]),
    batcher.add([row("03", "message.sent"), row("01", "message.sent")]),
  ]);
  expect(results.map((result) => (result.status === "fulfilled" ? result.value : "failed"))).toEqual([
    [true],
    "failed",
    [true, false],
  ]);
  expect(await insertEvents(app.context.db, [row("03", "message.sent")])).toEqual([false]);
});

test("more events than may wait are refused with 503, a stream's own are not", async () => {
  const { batcher } = ingestOf(app.context);
  const row = {
    accountId: "full",
    eventKey: "00000000-0000-0000-0000-000000000001",
    keyHash: 1,
    occurredAtMs: Date.UTC(2026, 0, 1),
    timeQuality: 0,
    type: "message.sent",
  };
  const much = batcher.add(times(49_999, () => row));
  await expect(batcher.add([row, row])).rejects.toMatchObject({
    status: 503,
    code: "ingest_busy",
    headers: { "retry-after": "1" },
  });
  const patient = batcher.add([row, row], { patient: true });
  expect((await much).filter(Boolean).length + (await patient).filter(Boolean).length).toBe(1);
});

test("new events ask for one fold of their account; duplicates for none", async () => {
  await using own = await startTestApp();
  const counts = async () => {
    const { aggregation } = await own.context.queues.counts();
    return Object.values(aggregation!).reduce((sum, count) => sum + count, 0);
  };
  const times50 = times(50, (i) => postEvents(own, [event(i, { account_id: `fold-${i % 2}` })]));
  await Promise.all(times50);
  await expect.poll(counts, { timeout: 5_000 }).toBe(2);
  await postEvents(own, [event(0, { account_id: "fold-0" })]);
  await Promise.all(own.context.beforeClose.map((finish) => finish()));
  expect(await counts()).toBe(2);
});

test("a database that is away: 503 with Retry-After, and the same request works when it is back", async () => {
  const database = await openTestDb();
  const proxy = await startProxy(new URL(database.url).port);
  const url = new URL(database.url);
  url.port = String(proxy.port);
  await migrateQueues(database.url);
  const own = await startTestApp({ databaseUrl: url.href });
  try {
    expect((await postEvents(own, [event(1)])).json.accepted).toBe(1);
    await proxy.cut();
    const away = await postEvents(own, [event(2)]);
    expect([away.status, away.json.code]).toEqual([503, "database_unavailable"]);
    expect(Number(away.headers.get("retry-after"))).toBeGreaterThan(0);
    const lines = await postLines(own, `${JSON.stringify(event(3))}\n`);
    expect(lines.status).toBe(503);
    await proxy.restore();
    expect((await postEvents(own, [event(2)])).json.accepted).toBe(1);
  } finally {
    await own.close();
    await proxy.cut();
    await database.close();
  }
});

/** A TCP proxy that can be cut and restored on the same port. */
async function startProxy(targetPort: string) {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(targetPort), "127.0.0.1");
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    }
  });
  const listen = (port: number) => once(server.listen(port, "127.0.0.1"), "listening");
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    restore: () => listen(port),
    async cut() {
      const closed = once(server.close(), "close");
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
