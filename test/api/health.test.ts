import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

test("health, live and ready say status only, without a key", async () => {
  for (const path of ["", "/live", "/ready"]) {
    const reply = await call(app.url, "GET", `/analytics/health${path}`);
    expect([path, reply.status, reply.json]).toEqual([path, 200, { status: "ok" }]);
  }
});

test("with every connection in use, live answers at once and ready says 503 within its time-out", async () => {
  const size = app.context.config.database.poolSize;
  const taken = await Promise.all(Array.from({ length: size }, () => app.context.pool.connect()));
  try {
    const started = performance.now();
    const answered: string[] = [];
    const ask = async (path: string) => {
      const reply = await call(app.url, "GET", `/analytics/health${path}`);
      answered.push(path);
      return reply;
    };
    const [ready, health, live] = await Promise.all([ask("/ready"), ask(""), ask("/live")]);
    expect([live.status, answered[0]]).toEqual([200, "/live"]);
    expect([ready.status, ready.json]).toEqual([503, { status: "unavailable" }]);
    expect(health.status).toBe(503);
    expect(performance.now() - started).toBeLessThan(4_000);
  } finally {
    for (const client of taken) client.release();
  }
  const after = await call(app.url, "GET", "/analytics/health/ready");
  expect(after.status).toBe(200);
});

test("a schema that is out of step is not ready", async () => {
  const { db } = app.context;
  const migrations = db.withTables<{ kysely_migration: { name: string; timestamp: string } }>();
  await migrations
    .insertInto("kysely_migration")
    .values({ name: "9999-from-the-future", timestamp: "" })
    .execute();
  try {
    const ready = await call(app.url, "GET", "/analytics/health/ready");
    expect(ready.status).toBe(503);
    const diagnostics = await call(app.url, "GET", "/analytics/diagnostics", { key: app.adminKey });
    expect(diagnostics.json.schema).toEqual({ in_step: false, difference: ["9999-from-the-future"] });
  } finally {
    await migrations.deleteFrom("kysely_migration").where("name", "=", "9999-from-the-future").execute();
  }
});

test("diagnostics show versions, queues, pool and runs to an operator", async () => {
  const reply = await call(app.url, "GET", "/analytics/diagnostics", { key: app.adminKey });
  expect(reply.status).toBe(200);
  expect(reply.json).toMatchObject({
    versions: { service: "1.0.0", node: process.versions.node, postgres: expect.stringMatching(/^\d+/) },
    database_pool: { size: 5, waiting: 0 },
    schema: { in_step: true, difference: [] },
    queue_store: "postgres",
    open_runs: [],
  });
  expect(Object.keys(reply.json.queues)).toEqual([
    "aggregation",
    "reports",
    "exports",
    "imports",
    "delivery",
    "maintenance",
  ]);
});

test("diagnostics show what waits to be settled and to be read, and for how long", async () => {
  const { db, pool } = app.context;
  const show = async () => {
    const { json } = await call(app.url, "GET", "/analytics/diagnostics", { key: app.adminKey });
    return { rollups: json.unsettled_rollups, chats: json.unread_chats };
  };
  const nothing = { accounts: 0, since: null, oldest: [] };
  expect(await show()).toEqual({ rollups: { ...nothing, rows: 0 }, chats: nothing });
  await ensureAccounts(db, ["a", "b", "c", "d"]);
  const at = (minute: number) => `2025-03-01T10:${String(minute).padStart(2, "0")}:00.120Z`;
  for (const [account, rows, minute] of [
    ["a", 5, 30],
    ["b", 7, 20],
  ])
    await pool.query(
      "update fold_watermarks set unsettled_rows = $2, unsettled_since = $3 where account_id = $1",
      [account, rows, at(minute as number)],
    );
  for (const [account, minute] of [
    ["b", 40],
    ["d", 10],
  ])
    await pool.query(
      `insert into conversation_marks (account_id, chat_key, month, chat_id, from_at, to_at, marked_at, counted_to)
       select $1, md5(n::text)::uuid, '2025-03-01', n, $2, $2, $2::timestamptz + n * interval '1 minute', $2
       from generate_series(0, 50) n`,
      [account, at(minute as number)],
    );
  await pool.query(
    "update accounts set settings_version = 2, settings_changed_at = $1 where account_id in ('c', 'd')",
    [at(25)],
  );
  const waits = (account_id: string, minute: number) => ({ account_id, since: at(minute) });
  expect(await show()).toEqual({
    rollups: {
      ...{ accounts: 2, rows: 12, since: at(20) },
      oldest: [
        { ...waits("b", 20), rows: 7 },
        { ...waits("a", 30), rows: 5 },
      ],
    },
    chats: { accounts: 3, since: at(10), oldest: [waits("d", 10), waits("c", 25), waits("b", 40)] },
  });
});

test.each([60_000, -60_000])(
  "a clock that is off by %i ms is not ready, and says by how much",
  async (offMs) => {
    const { databaseUrl, adminKey } = app;
    const now = () => new Date(Date.now() + offMs);
    await using wrong = await startTestApp({ databaseUrl, now, env: { API_KEY: adminKey } });
    const ready = await call(wrong.url, "GET", "/analytics/health/ready");
    expect([ready.status, ready.json]).toEqual([503, { status: "unavailable" }]);
    const diagnostics = await call(wrong.url, "GET", "/analytics/diagnostics", { key: adminKey });
    expect(diagnostics.status).toBe(200);
    expect(Math.abs(diagnostics.json.clock_skew_seconds - offMs / 1000)).toBeLessThan(1);
    const right = await call(app.url, "GET", "/analytics/diagnostics", { key: adminKey });
    expect(Math.abs(right.json.clock_skew_seconds)).toBeLessThan(1);
  },
);
