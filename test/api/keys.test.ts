import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KEY_TTL_MS } from "../../src/api/identity.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
/** A second process of the same installation, whose clock follows ours. */
let other: TestApp;
let aheadMs = 0;
const now = () => new Date(Date.now() + aheadMs);

beforeAll(async () => {
  app = await startTestApp({ now });
  other = await startTestApp({ now, databaseUrl: app.databaseUrl, env: { API_KEY: app.adminKey } });
  for (const account of ["a", "b"]) await post("/analytics/accounts", { account_id: account });
});
afterAll(async () => {
  await other.close();
  await app.close();
});

const post = (path: string, body: unknown, key = app.adminKey) => call(app.url, "POST", path, { key, body });
const makeKey = async (fields: object = {}, key = app.adminKey) =>
  post("/analytics/keys", { name: "a key", role: "viewer", ...fields }, key);
const canList = async (at: TestApp, key: string) =>
  (await call(at.url, "GET", "/analytics/accounts", { key })).status;

test("a key is shown once, stored as a hash, and can be read back without its secret", async () => {
  const made = await makeKey({ account_ids: ["a"], expires_at: "2999-01-01T00:00:00+01:00" });
  expect(made.status).toBe(201);
  const { key, ...rest } = made.json;
  expect(key).toMatch(/^wak_[a-z0-9]{8}_[A-Za-z0-9_-]{43}$/);
  expect(rest).toEqual({
    id: expect.any(String),
    prefix: key.slice(4, 12),
    name: "a key",
    role: "viewer",
    account_ids: ["a"],
    created_at: expect.stringMatching(/Z$/),
    expires_at: "2998-12-31T23:00:00.000Z",
    revoked_at: null,
  });
  const read = await call(app.url, "GET", made.headers.get("location")!, { key: app.adminKey });
  expect(read.json).toEqual(rest);
  const list = await call(app.url, "GET", "/analytics/keys", { key: app.adminKey });
  expect(list.json.data).toContainEqual(rest);
  expect(list.text).not.toContain(key);
  const { rows } = await app.context.pool.query("select row_to_json(k)::text as row from api_keys k");
  expect(JSON.stringify(rows)).not.toContain(key.slice(13));
});

test("lists come in pages, newest first, each key once", async () => {
  for (let i = 0; i < 5; i++) await makeKey({ name: `page ${i}` });
  const names: string[] = [];
  let cursor: string | null = null;
  do {
    const query: string = cursor === null ? "" : `&cursor=${cursor}`;
    const page = await call(app.url, "GET", `/analytics/keys?limit=2${query}`, { key: app.adminKey });
    expect(page.json.data.length).toBeLessThanOrEqual(2);
    names.push(...page.json.data.map((row: { name: string }) => row.name));
    cursor = page.json.next_cursor;
  } while (cursor !== null);
  const { rows } = await app.context.pool.query("select count(*) from api_keys");
  expect(names.length).toBe(rows[0].count);
  expect(names.slice(0, 5)).toEqual(["page 4", "page 3", "page 2", "page 1", "page 0"]);
  for (const bad of ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=W10", "cursor=", "page=1"]) {
    const reply = await call(app.url, "GET", `/analytics/keys?${bad}`, { key: app.adminKey });
    expect([bad, reply.status, reply.json.errors.length]).toEqual([bad, 400, 1]);
  }
});

test("a revoked key stops at once here, and within 5 s in other processes", async () => {
  const { json } = await makeKey();
  expect([await canList(app, json.key), await canList(other, json.key)]).toEqual([200, 200]);
  const path = `/analytics/keys/${json.id}`;
  expect((await call(app.url, "DELETE", path, { key: app.adminKey })).status).toBe(204);
  expect(await canList(app, json.key)).toBe(401);
  expect(KEY_TTL_MS).toBeLessThan(5_000);
  aheadMs += KEY_TTL_MS;
  expect(await canList(other, json.key)).toBe(401);
  const first = await call(app.url, "GET", path, { key: app.adminKey });
  aheadMs += 1_000;
  expect((await call(app.url, "DELETE", path, { key: app.adminKey })).status).toBe(204);
  const second = await call(app.url, "GET", path, { key: app.adminKey });
  expect(second.json.revoked_at).toBe(first.json.revoked_at);
});

test("unknown, revoked and expired keys get the same answer", async () => {
  const revoked = (await makeKey()).json;
  await call(app.url, "DELETE", `/analytics/keys/${revoked.id}`, { key: app.adminKey });
  const expired = (await makeKey({ expires_at: new Date(now().getTime() + 60_000).toISOString() })).json;
  expect(await canList(app, expired.key)).toBe(200);
  aheadMs += 61_000;
  const unknown = `wak_${"z".repeat(8)}_${"A".repeat(43)}`;
  const bodies = [];
  for (const key of [unknown, revoked.key, expired.key]) {
    const reply = await call(app.url, "GET", "/analytics/accounts", { key });
    expect(reply.status).toBe(401);
    bodies.push({ ...reply.json, instance: undefined });
  }
  expect(bodies[1]).toEqual(bodies[0]);
  expect(bodies[2]).toEqual(bodies[0]);
});

test("mistakes are named; ids that do not exist or cannot are 404", async () => {
  const wrong = await makeKey({ role: "root", account_ids: [], extra: 1, expires_at: "tomorrow" });
  expect(wrong.json.errors.map((issue: { path: string }) => issue.path).sort()).toEqual([
    "account_ids",
    "expires_at",
    "extra",
    "role",
  ]);
  const stranger = await makeKey({ account_ids: ["a", "nobody"] });
  expect([stranger.status, stranger.json.errors[0].path]).toEqual([400, "account_ids[1]"]);
  const past = await makeKey({ expires_at: "2020-01-01T00:00:00Z" });
  expect([past.status, past.json.errors[0].code]).toEqual([400, "in_the_past"]);
  expect((await makeKey({ name: "a\0b" })).json.errors[0].code).toBe("invalid_text");
  for (const id of [randomUUID(), "bootstrap", "1", "%00", "'; drop table api_keys", "x".repeat(2_000)]) {
    const reply = await call(app.url, "DELETE", `/analytics/keys/${id}`, { key: app.adminKey });
    expect([id.slice(0, 30), reply.status]).toEqual([id.slice(0, 30), 404]);
  }
});

test("an admin of some accounts cannot reach beyond them through keys", async () => {
  const admin = (await makeKey({ role: "admin", account_ids: ["a"] })).json.key;
  expect((await makeKey({}, admin)).status).toBe(403);
  expect((await makeKey({ account_ids: null }, admin)).status).toBe(403);
  expect((await makeKey({ account_ids: ["a", "b"] }, admin)).status).toBe(403);
  const inside = await makeKey({ account_ids: ["a"], name: "inside" }, admin);
  expect(inside.status).toBe(201);
  const outside = (await makeKey({ account_ids: ["b"] })).json;
  const global = (await makeKey()).json;
  const list = await call(app.url, "GET", "/analytics/keys", { key: admin });
  const ids = list.json.data.map((row: { id: string }) => row.id);
  expect(ids).toContain(inside.json.id);
  for (const { id } of [outside, global]) {
    expect(ids).not.toContain(id);
    expect((await call(app.url, "GET", `/analytics/keys/${id}`, { key: admin })).status).toBe(404);
    expect((await call(app.url, "DELETE", `/analytics/keys/${id}`, { key: admin })).status).toBe(404);
  }
  expect((await call(app.url, "GET", "/analytics/diagnostics", { key: admin })).status).toBe(403);
  expect((await call(app.url, "GET", "/admin/queues/api/queues", { key: admin })).status).toBe(403);
});
