import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";

let app: TestApp;
let messages: number;
beforeAll(async () => {
  app = await startTestApp();
  messages = await seedMessages(app.context, "shop");
  await app.context.pool.query("analyze messages");
});
afterAll(() => app.close());
beforeEach(() => app.context.pool.query("truncate runs; update accounts set quotas = '{}'"));

const send = (method: string, path: string, body?: unknown, key = app.adminKey) =>
  call(app.url, method, path, { key, body });
const order = { account_id: "shop", dataset: "messages", format: "csv", ...seedRange };
const report = { account_id: "shop", template: "message-log", format: "csv", ...seedRange };
const keyOf = async (role: string, accounts?: string[]): Promise<string> =>
  (await send("POST", "/analytics/keys", { name: role, role, ...(accounts && { account_ids: accounts }) }))
    .json.key;
const quotas = (set: object) => send("PATCH", "/analytics/accounts/shop", { quotas: set });

describe("what operators do", () => {
  it("is theirs alone, and names what is not there", async () => {
    const [operator, analyst, scoped] = [
      await keyOf("operator"),
      await keyOf("analyst"),
      await keyOf("operator", ["shop"]),
    ];
    for (const [method, path] of [
      ["POST", "/analytics/admin/queues/exports/pause"],
      ["POST", "/analytics/admin/queues/exports/resume"],
      ["GET", "/analytics/admin/parked"],
    ] as const) {
      expect((await send(method, path, undefined, operator)).status).toBe(200);
      expect((await send(method, path, undefined, analyst)).status).toBe(403);
      expect((await send(method, path, undefined, scoped)).status).toBe(403);
    }
    expect((await send("POST", "/analytics/admin/queues/nowhere/pause")).status).toBe(404);
  });

  it("tells who paused a queue first", async () => {
    const first = (await send("POST", "/analytics/admin/queues/imports/pause")).json;
    const again = (
      await send("POST", "/analytics/admin/queues/imports/pause", undefined, await keyOf("operator"))
    ).json;
    expect(again).toEqual(first);
    await send("POST", "/analytics/admin/queues/imports/resume");
    expect((await send("GET", "/analytics/diagnostics")).json.paused_queues).toEqual([]);
  });

  it("starts parked runs again by account, kind or id, some at a time, and never all by mistake", async () => {
    await app.context.pool.query(
      `insert into runs (account_id, kind, status, params, requested_by, parked_at)
       select 'shop', 'export', 'failed', '{}', 'test', now() - n * interval '1 second' from generate_series(1, 5) n`,
    );
    const page = (await send("GET", "/analytics/admin/parked?limit=2&kind=export")).json;
    const next = (
      await send("GET", `/analytics/admin/parked?limit=9&cursor=${encodeURIComponent(page.next_cursor)}`)
    ).json;
    const all = [...page.data, ...next.data].map(({ id }: { id: string }) => id);
    expect([page.data.length, new Set(all).size]).toEqual([2, 5]);
    const redrive = async (body: object) =>
      (await send("POST", "/analytics/admin/parked/redrive", body)).json;
    expect((await redrive({})).errors).toMatchObject([{ path: "account_id", code: "required" }]);
    expect(await redrive({ ids: [all[4]] })).toEqual({ redriven: [all[4]], has_more: false });
    expect(await redrive({ account_id: "other" })).toEqual({ redriven: [], has_more: false });
    expect(await redrive({ account_id: "shop", limit: 3 })).toEqual({
      redriven: all.slice(0, 3),
      has_more: true,
    });
    expect((await redrive({ kind: "export" })).redriven).toEqual([all[3]]);
    expect((await send("GET", "/analytics/admin/parked")).json.data).toEqual([]);
  });
});

describe("quotas", () => {
  it("are set by account, and taken back with null", async () => {
    expect((await quotas({ weight: 3, max_running: 2 })).json.quotas).toEqual({
      ...{ weight: 3, max_running: 2, max_waiting: 10_000, max_export_rows: 0 },
    });
    expect((await quotas({ weight: null })).json.quotas).toMatchObject({ weight: 1, max_running: 2 });
    const refused = await quotas({ weight: 0, max_waiting: -1, share: 1 });
    expect(refused.json.errors.map(({ path }: { path: string }) => path).sort()).toEqual([
      "quotas.max_waiting",
      "quotas.share",
      "quotas.weight",
    ]);
  });

  it("bound how many runs wait, of each kind", async () => {
    await quotas({ max_waiting: 2, max_running: 0 });
    for (const status of [202, 202, 429])
      expect((await send("POST", "/analytics/exports", order)).status).toBe(status);
    const refused = await send("POST", "/analytics/exports", order);
    expect(refused.json).toMatchObject({
      code: "too_many_waiting",
      detail: expect.stringContaining("has 2 runs"),
    });
    expect(refused.headers.get("retry-after")).toBe("60");
    expect((await send("POST", "/analytics/reports", report)).status).toBe(202);
  });

  it("bound retries as they bound what is new", async () => {
    await quotas({ max_waiting: 1, max_running: 0 });
    const ask = async () => (await send("POST", "/analytics/exports", order)).json.id as string;
    const act = (id: string, action: string) => send("POST", `/analytics/exports/${id}/${action}`);
    const first = await ask();
    await act(first, "cancel");
    const second = await ask();
    const refused = await act(first, "retry");
    expect([refused.status, refused.json.code, refused.headers.get("retry-after")]).toEqual([
      ...[429, "too_many_waiting", "60"],
    ]);
    await act(second, "cancel");
    expect((await act(first, "retry")).status).toBe(202);
    expect((await act(second, "retry")).status).toBe(429);
  });

  it("stop an account whose cap is 0, and let it go on", async () => {
    await quotas({ max_running: 0 });
    const { id } = (await send("POST", "/analytics/exports", order)).json;
    const admitted = async () =>
      (await app.context.pool.query("select enqueued_at from runs where run_id = $1", [id])).rows[0]
        .enqueued_at;
    expect(await admitted()).toBeNull();
    await quotas({ max_running: null });
    expect(await admitted()).not.toBeNull();
  });

  it("refuse what is estimated to be too large, before any work", async () => {
    await quotas({ max_export_rows: 3 });
    for (const [path, body] of [
      ["exports", order],
      ["reports", report],
    ] as const) {
      const refused = await send("POST", `/analytics/${path}`, body);
      expect([refused.status, refused.json.code]).toEqual([413, "too_large"]);
      expect(refused.json.detail).toMatch(/About \d+ rows .* may ask for 3 \(max_export_rows\)/);
    }
    expect((await app.context.pool.query("select from runs")).rowCount).toBe(0);
    expect((await send("POST", "/analytics/exports", { ...order, to: "2025-03-01T00:15:00Z" })).status).toBe(
      202,
    );
  });
});

describe("an estimate", () => {
  it("takes the body of the request, checks it the same, and runs nothing", async () => {
    const { json, status } = await send("POST", "/analytics/exports/estimate", order);
    expect(status).toBe(200);
    expect(json).toEqual({
      rows: expect.any(Number),
      bytes: expect.any(Number),
      seconds: null,
      basis: "planner",
    });
    expect(json.rows).toBeGreaterThan(messages / 3);
    expect(json.rows).toBeLessThan(messages * 3);
    expect((await send("POST", "/analytics/reports/estimate", { ...report, format: "pdf" })).status).toBe(
      400,
    );
    expect(
      (await send("POST", "/analytics/reports/estimate", { ...report, account_id: "none" })).status,
    ).toBe(404);
    expect((await send("POST", "/analytics/reports/estimate", report, await keyOf("viewer"))).status).toBe(
      403,
    );
    expect((await app.context.pool.query("select from runs")).rowCount).toBe(0);
  });

  it("knows the seconds once the account's runs have told their speed", async () => {
    await app.context.pool.query(
      `insert into runs (account_id, kind, status, params, requested_by, progress_rows, started_at, finished_at)
       values ('shop', 'report', 'succeeded', '{}', 'test', 100, now() - interval '10 seconds', now())`,
    );
    const { json } = await send("POST", "/analytics/reports/estimate", report);
    expect(json.seconds).toBe(Math.ceil(json.rows / 10));
  });
});
