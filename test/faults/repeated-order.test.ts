import { afterAll, beforeAll, expect, it } from "vitest";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";

let app: TestApp;
let aheadMs = 0;
beforeAll(async () => {
  app = await startTestApp({ now: () => new Date(Date.now() + aheadMs) });
  await seedMessages(app.context, "shop");
});
afterAll(() => app.close());

const body = { account_id: "shop", dataset: "messages", format: "csv", ...seedRange };
const order = (key: string, more: object = {}) =>
  call(app.url, "POST", "/analytics/exports", {
    key: app.adminKey,
    body: { ...body, ...more },
    headers: { "idempotency-key": key },
  });
const runs = async (): Promise<number> => (await app.context.pool.query("select from runs")).rowCount ?? 0;

it("F41: 20 equal orders at once under one key are one run, and every answer names it or says to wait", async () => {
  const before = await runs();
  const replies = await Promise.all(Array.from({ length: 20 }, () => order("parallel")));
  expect(await runs()).toBe(before + 1);
  const { id } = (await order("parallel")).json;
  for (const { status, json } of replies)
    expect(status === 202 ? json.id : json.code).toBe(status === 202 ? id : "idempotency_in_progress");
  expect(
    replies.filter(({ status, headers }) => status === 202 && !headers.has("idempotent-replayed")),
  ).toHaveLength(1);
});

it("F41: the same key with another order is refused, and makes nothing", async () => {
  await order("other");
  const before = await runs();
  const reply = await order("other", { format: "ndjson" });
  expect([reply.status, reply.json.code, await runs()]).toEqual([409, "idempotency_key_reused", before]);
});

it("F41: an API that dies between commit and answer leaves one run, which its key names no more than a minute later", async () => {
  const first = (await order("crash")).json;
  // What the database holds then: the run is committed, its answer is not.
  await app.context.pool.query(
    "update idempotency_keys set status = null, headers = null, body = null where key = 'crash'",
  );
  const before = await runs();
  expect((await order("crash")).json.code).toBe("idempotency_in_progress");
  expect(await runs()).toBe(before);
  aheadMs += app.context.config.http.timeoutMs + 61_000;
  const again = await order("crash");
  expect([again.status, again.json.id === first.id]).toEqual([202, true]);
  expect(await runs()).toBe(before);
});

it("F41: a key is forgotten after 24 hours", async () => {
  const first = (await order("daily")).json;
  aheadMs += 24 * 3_600_000 + 1_000;
  const again = await order("daily");
  expect(again.status).toBe(202);
  expect(again.json.id).not.toBe(first.id);
});
