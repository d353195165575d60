import { afterAll, beforeAll, expect, test } from "vitest";
import { mayCall } from "../../src/api/app.js";
import type { Route } from "../../src/api/route.js";
import { apiRoutes } from "../../src/api/routes/index.js";
import { type Role, roles } from "../../src/db/schema.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
const keys = new Map<Role, string>();

beforeAll(async () => {
  app = await startTestApp();
  for (const role of roles) {
    const made = await call(app.url, "POST", "/analytics/keys", {
      key: app.adminKey,
      body: { name: role, role },
    });
    expect(made.status).toBe(201);
    keys.set(role, made.json.key);
  }
});
afterAll(() => app.close());

/** Ids that exist nowhere: whoever is allowed gets some other answer, whoever is not `role_not_allowed`. */
const concrete = (path: string) => path.replaceAll(/:[a-z_]+/g, "00000000-0000-4000-8000-000000000000");

test("the roles include each other as documented", () => {
  const allowed = (access: Route["access"]) => roles.filter((role) => mayCall(access, role));
  expect(allowed(["viewer"])).toEqual(["viewer", "analyst", "admin"]);
  expect(allowed(["analyst"])).toEqual(["analyst", "admin"]);
  expect(allowed(["ingest"])).toEqual(["ingest", "admin"]);
  expect(allowed(["operator"])).toEqual(["operator", "admin"]);
  expect(allowed(["admin"])).toEqual(["admin"]);
  expect(allowed(["viewer", "operator"])).toEqual(["viewer", "analyst", "operator", "admin"]);
  expect(allowed("public")).toEqual([...roles]);
});

test("every route lets exactly the declared roles in, and nobody without a key", async () => {
  const send = async ({ method, path, stream }: Route, key: string | undefined) => {
    const response = await fetch(app.url + concrete(path), {
      method: method.toUpperCase(),
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
      signal: AbortSignal.timeout(10_000),
    });
    if (stream && response.ok) await response.body?.cancel();
    const text = response.ok ? "{}" : await response.text();
    return { status: response.status, code: (JSON.parse(text) as { code?: string }).code };
  };
  const wrong: string[] = [];
  for (const declared of apiRoutes(app.context)) {
    const { method, path, access } = declared;
    const anonymous = await send(declared, undefined);
    if ((anonymous.code === "missing_api_key") === (access === "public"))
      wrong.push(`${method} ${path} without a key: ${anonymous.status}`);
    for (const role of roles) {
      const { status, code } = await send(declared, keys.get(role));
      const refused = code === "role_not_allowed" || code === "invalid_api_key";
      if (refused === mayCall(access, role) || status === 500)
        wrong.push(`${method} ${path} as ${role}: ${status} ${code}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("both ways to send a key work; two different keys, malformed and huge ones are refused", async () => {
  const key = keys.get("viewer")!;
  const get = (headers: Record<string, string>) => call(app.url, "GET", "/analytics/accounts", { headers });
  expect((await get({ authorization: `bearer ${key}` })).status).toBe(200);
  expect((await get({ "x-api-key": key })).status).toBe(200);
  expect((await get({ "x-api-key": key, authorization: `Bearer ${key}` })).status).toBe(200);
  const both = await get({ "x-api-key": key, authorization: `Bearer ${app.adminKey}` });
  expect([both.status, both.json.code]).toEqual([400, "conflicting_credentials"]);
  const none = await get({});
  expect([none.status, none.json.code, none.headers.get("www-authenticate")]).toEqual([
    401,
    "missing_api_key",
    "Bearer",
  ]);
  const changed = key.slice(0, -1) + (key.endsWith("A") ? "B" : "A");
  for (const value of [
    "Basic YTpi",
    "Bearer",
    "Bearer ",
    "Bearer x",
    `Bearer ${changed}`,
    `Bearer ${key} ${key}`,
    `Bearer ${"x".repeat(10_000)}`,
    "Bearer \u00ff\u00fe",
    "Bearer __proto__",
  ]) {
    const reply = await get({ authorization: value });
    expect([value.slice(0, 40), reply.status, reply.json.code]).toEqual([
      value.slice(0, 40),
      401,
      "invalid_api_key",
    ]);
  }
});

test("a database that does not answer means 503, not 401", async () => {
  await using second = await startTestApp({
    databaseUrl: app.databaseUrl,
    env: { DATABASE_POOL_SIZE: "2", API_KEY: app.adminKey },
  });
  const taken = await Promise.all([second.context.pool.connect(), second.context.pool.connect()]);
  const reply = await call(second.url, "GET", "/analytics/accounts", { key: keys.get("viewer")! });
  for (const client of taken) client.release();
  expect([reply.status, reply.json.code]).toEqual([503, "database_unavailable"]);
  expect(reply.headers.get("retry-after")).toBe("2");
  const after = await call(second.url, "GET", "/analytics/accounts", { key: keys.get("viewer")! });
  expect(after.status).toBe(200);
}, 15_000);
