import { afterAll, beforeAll, expect, test } from "vitest";
import { type CallOptions, call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const admin = (method: string, path: string, options: CallOptions = {}) =>
  call(app.url, method, path, { key: app.adminKey, ...options });

async function keyFor(role: string, accounts: string[]): Promise<string> {
  const body = { name: `${role} of ${accounts}`, role, account_ids: accounts };
  return (await admin("POST", "/analytics/keys", { body })).json.key;
}

test("an account is created with its watermark, read, changed and listed", async () => {
  const made = await admin("POST", "/analytics/accounts", {
    body: { account_id: "shop/1 ü", name: "Shop", time_zone: "Asia/Kolkata" },
  });
  const shop = {
    account_id: "shop/1 ü",
    name: "Shop",
    time_zone: "Asia/Kolkata",
    created_at: expect.stringMatching(/Z$/),
  };
  expect([made.status, made.json]).toEqual([201, shop]);
  const { rows } = await app.context.pool.query(
    "select epoch, xid::text, seq from fold_watermarks where account_id = 'shop/1 ü'",
  );
  expect(rows).toEqual([{ epoch: app.context.installation.epoch, xid: "0", seq: 0 }]);
  const path = made.headers.get("location")!;
  expect((await admin("GET", path)).json).toEqual(shop);
  const again = await admin("POST", "/analytics/accounts", { body: { account_id: "shop/1 ü" } });
  expect([again.status, again.json.code]).toEqual([409, "account_exists"]);
  const changed = await admin("PATCH", path, { body: { name: null, time_zone: "Europe/Berlin" } });
  expect(changed.json).toEqual({ ...shop, name: null, time_zone: "Europe/Berlin" });
  expect((await admin("PATCH", path, { body: {} })).json).toEqual(changed.json);
  expect((await admin("PATCH", "/analytics/accounts/none", { body: { name: "x" } })).status).toBe(404);
  expect((await admin("GET", "/analytics/accounts/none")).json.code).toBe("account_not_found");
  expect((await admin("GET", "/analytics/accounts/%00")).status).toBe(404);
});

test("time zones must be IANA zones, ids storable text", async () => {
  for (const zone of ["Mars/Olympus", "+05:30", "", "UTC+1", "Europe/Berlin'; --"]) {
    const reply = await admin("POST", "/analytics/accounts", { body: { account_id: "z", time_zone: zone } });
    expect([zone, reply.status, reply.json.errors[0].path]).toEqual([zone, 400, "time_zone"]);
  }
  for (const id of ["", "x".repeat(129), "a\0", "\ud800", 7, null]) {
    const reply = await admin("POST", "/analytics/accounts", { body: { account_id: id } });
    expect([id, reply.status, reply.json.errors[0].path]).toEqual([id, 400, "account_id"]);
  }
});

test("accounts cannot see each other", async () => {
  for (const id of ["one", "two"]) await admin("POST", "/analytics/accounts", { body: { account_id: id } });
  const viewer = await keyFor("viewer", ["one"]);
  const scoped = await keyFor("admin", ["one"]);
  for (const key of [viewer, scoped]) {
    const list = await call(app.url, "GET", "/analytics/accounts", { key });
    expect(list.json).toMatchObject({ data: [{ account_id: "one" }], next_cursor: null });
    expect((await call(app.url, "GET", "/analytics/accounts/one", { key })).status).toBe(200);
    const foreign = await call(app.url, "GET", "/analytics/accounts/two", { key });
    const missing = await call(app.url, "GET", "/analytics/accounts/nobody", { key });
    expect(foreign.status).toBe(404);
    expect({ ...foreign.json, instance: "" }).toEqual({ ...missing.json, instance: "" });
  }
  const patch = await call(app.url, "PATCH", "/analytics/accounts/two", { key: scoped, body: { name: "x" } });
  expect(patch.status).toBe(404);
  const create = await call(app.url, "POST", "/analytics/accounts", {
    key: scoped,
    body: { account_id: "three" },
  });
  expect([create.status, create.json.code]).toEqual([403, "scope_not_allowed"]);
});

test("channels belong to one account and are seen and changed within the scope only", async () => {
  for (const id of ["left", "right"])
    await admin("POST", "/analytics/accounts", { body: { account_id: id } });
  const path = "/analytics/channels/4915%2F1";
  const made = await admin("PUT", path, { body: { account_id: "left", name: "Phone" } });
  expect([made.status, made.json]).toEqual([
    201,
    { channel_id: "4915/1", account_id: "left", name: "Phone", created_at: expect.any(String) },
  ]);
  expect((await admin("PUT", path, { body: { account_id: "nobody" } })).json.code).toBe("account_not_found");
  expect((await admin("PUT", path, { body: {} })).json.errors[0]).toMatchObject({ code: "required" });

  const left = await keyFor("admin", ["left"]);
  const right = await keyFor("admin", ["right"]);
  const taken = await call(app.url, "PUT", path, { key: right, body: { account_id: "right" } });
  expect([taken.status, taken.json.code]).toEqual([409, "channel_taken"]);
  expect((await call(app.url, "PUT", path, { key: right, body: { account_id: "left" } })).status).toBe(404);
  expect((await call(app.url, "DELETE", path, { key: right })).status).toBe(404);
  expect((await call(app.url, "GET", "/analytics/channels", { key: right })).json.data).toEqual([]);
  expect((await call(app.url, "GET", "/analytics/channels", { key: left })).json.data).toEqual([made.json]);
  const foreign = await call(app.url, "GET", "/analytics/channels?account_id=left", { key: right });
  expect(foreign.status).toBe(404);

  const moved = await admin("PUT", path, { body: { account_id: "right" } });
  expect([moved.status, moved.json]).toEqual([200, { ...made.json, account_id: "right" }]);
  expect((await admin("GET", "/analytics/channels?account_id=left")).json.data).toEqual([]);
  expect((await call(app.url, "DELETE", path, { key: right })).status).toBe(204);
  expect((await admin("DELETE", path)).json.code).toBe("channel_not_found");
});

test("lists of accounts and channels come in pages", async () => {
  const ids = Array.from({ length: 5 }, (_, i) => `page-${i}`);
  for (const id of ids) {
    await admin("POST", "/analytics/accounts", { body: { account_id: id } });
    await admin("PUT", `/analytics/channels/${id}`, { body: { account_id: id } });
  }
  for (const [path, field] of [
    ["/analytics/accounts", "account_id"],
    ["/analytics/channels", "channel_id"],
  ] as const) {
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page = await admin("GET", `${path}?limit=2${cursor && `&cursor=${cursor}`}`);
      seen.push(...page.json.data.map((row: Record<string, string>) => row[field]));
      cursor = page.json.next_cursor;
    }
    expect(seen.filter((id) => id.startsWith("page-"))).toEqual(ids);
    expect(new Set(seen).size).toBe(seen.length);
  }
});
