import { afterAll, beforeAll, expect, test } from "vitest";
import { KEY_TTL_MS } from "../../src/api/identity.js";
import { queueNames } from "../../src/jobs/define-job.js";
import { type CallOptions, call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
let aheadMs = 0;
let operator: { id: string; key: string };

beforeAll(async () => {
  app = await startTestApp({ now: () => new Date(Date.now() + aheadMs) });
  operator = await makeKey("operator");
});
afterAll(() => app.close());

async function makeKey(role: string): Promise<{ id: string; key: string }> {
  const body = { name: role, role };
  return (await call(app.url, "POST", "/analytics/keys", { key: app.adminKey, body })).json;
}

const get = (path: string, headers: Record<string, string> = {}) => call(app.url, "GET", path, { headers });

const logIn = (key: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}) =>
  call(app.url, "POST", "/admin/login", {
    raw: new URLSearchParams({ key, ...fields }).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
  });

async function session(key: string): Promise<string> {
  const reply = await logIn(key);
  expect(reply.status).toBe(303);
  return reply.headers.get("set-cookie")!.split(";")[0]!;
}

test("without a login pages lead to the form and the board's API says 401", async () => {
  const page = await get("/admin/queues/queue/x?status=failed");
  expect(page.status).toBe(302);
  const location = "/admin/login?next=%2Fadmin%2Fqueues%2Fqueue%2Fx%3Fstatus%3Dfailed";
  expect(page.headers.get("location")).toBe(location);
  const form = await get(location);
  expect([form.status, form.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  expect(form.text).toContain('value="/admin/queues/queue/x?status=failed"');
  expect(form.text).not.toMatch(/(src|href)=/);
  expect(form.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
  expect(form.headers.get("x-frame-options")).toBe("DENY");
  const api = await get("/admin/queues/api/queues");
  expect([api.status, api.json.code]).toEqual([401, "not_logged_in"]);
  expect((await call(app.url, "PUT", "/admin/queues/api/queues/x/pause")).status).toBe(401);
  expect((await get("/admin")).headers.get("location")).toBe("/admin/queues");
  expect((await get("/admin/nothing")).json.code).toBe("not_found");
});

test("a login sets a strict cookie that opens the board with every queue by its plain name", async () => {
  const reply = await logIn(operator.key, { next: "/admin/queues/job-schedulers" });
  expect([reply.status, reply.headers.get("location")]).toEqual([303, "/admin/queues/job-schedulers"]);
  const [pair, ...attributes] = reply.headers.get("set-cookie")!.split("; ");
  expect(pair).toMatch(/^wa_session=[\w-]+\.[\w-]+$/);
  expect(attributes.filter((part) => !part.startsWith("Expires=")).sort()).toEqual([
    "HttpOnly",
    "Max-Age=28800",
    "Path=/admin",
    "SameSite=Strict",
  ]);
  const overTls = await logIn(operator.key, {}, { "x-forwarded-proto": "https" });
  expect(overTls.headers.get("set-cookie")).toContain("; Secure");

  const cookie = { cookie: `theme=dark; ${pair}` };
  const page = await get("/admin/queues/", cookie);
  expect(page.status).toBe(200);
  expect(page.text).toContain('<base href="/admin/queues/"');
  expect(page.headers.get("content-security-policy")).toContain("script-src 'self';");
  expect(page.headers.get("x-powered-by")).toBeNull();
  const script = /src="(static\/js\/main[^"]+)"/.exec(page.text)![1];
  expect((await get(`/admin/queues/${script}`, cookie)).status).toBe(200);
  const list = await get("/admin/queues/api/queues", cookie);
  for (const field of ["name", "displayName"]) {
    const names = list.json.queues.map((queue: Record<string, string>) => queue[field]);
    expect(names.sort()).toEqual([...queueNames].sort());
  }
});

test("only operators and admins of all accounts get in", async () => {
  await call(app.url, "POST", "/analytics/accounts", { key: app.adminKey, body: { account_id: "a" } });
  const scoped = await call(app.url, "POST", "/analytics/keys", {
    key: app.adminKey,
    body: { name: "scoped", role: "admin", account_ids: ["a"] },
  });
  const refused = [
    (await makeKey("viewer")).key,
    (await makeKey("ingest")).key,
    scoped.json.key,
    "wrong",
    "",
  ];
  for (const key of refused) {
    const reply = await logIn(key, { next: '"><script>' });
    expect([reply.status, reply.headers.get("set-cookie")]).toEqual([401, null]);
    expect(reply.text).not.toContain("<script>");
  }
  for (const key of refused.slice(0, 3)) {
    const headers = { authorization: `Bearer ${key}` };
    expect((await get("/admin/queues/api/queues", headers)).status).toBe(403);
  }
  expect((await get("/admin/queues", { authorization: `Bearer ${app.adminKey}` })).status).toBe(200);
  expect((await get("/admin/queues", { "x-api-key": operator.key })).status).toBe(200);
  expect((await get("/admin/queues", { "x-api-key": "wrong" })).status).toBe(401);
});

test("after the login nobody is led to another site", async () => {
  for (const next of [
    "https://evil.example/admin/",
    "//evil.example/admin/queues",
    "/\\evil.example/admin/",
    "/admin/..//evil.example",
    "/admin/../analytics/keys",
    "/administrator",
    "javascript:alert(1)",
    "http://[",
  ])
    expect([next, (await logIn(operator.key, { next })).headers.get("location")]).toEqual([
      next,
      "/admin/queues",
    ]);
});

test("changes that another site may have sent are refused", async () => {
  const cookie = await session(operator.key);
  const pause = (headers: Record<string, string>, options: CallOptions = {}) =>
    call(app.url, "PUT", "/admin/queues/api/queues/aggregation/pause", { ...options, headers });
  const { host } = new URL(app.url);
  const cases: [Record<string, string>, number][] = [
    [{ cookie, "sec-fetch-site": "cross-site" }, 403],
    [{ cookie, "sec-fetch-site": "same-site", origin: `http://${host}` }, 403],
    [{ cookie, origin: "https://evil.example" }, 403],
    [{ cookie, origin: "null" }, 403],
    [{ cookie }, 403],
    [{ "x-api-key": operator.key, "sec-fetch-site": "cross-site" }, 403],
    [{ cookie, "sec-fetch-site": "same-origin" }, 200],
    [{ cookie, "sec-fetch-site": "none" }, 200],
    [{ cookie, origin: `http://${host}` }, 200],
    [{ "x-api-key": operator.key }, 200],
  ];
  for (const [headers, status] of cases) {
    const reply = await pause(headers);
    expect([headers, reply.status]).toEqual([headers, status]);
  }
  const paused = await app.context.queues.all()[0]!.isPaused();
  expect(paused).toBe(true);
  const login = await logIn(operator.key, {}, { origin: "https://evil.example" });
  expect([login.status, login.headers.get("set-cookie")]).toEqual([403, null]);
  expect((await logIn(operator.key, {}, { "sec-fetch-site": "cross-site" })).status).toBe(403);
});

test("forged and changed cookies open nothing", async () => {
  const cookie = await session(operator.key);
  const [text, signature] = cookie.slice("wa_session=".length).split(".") as [string, string];
  const payload = JSON.parse(Buffer.from(text, "base64url").toString());
  const asAdmin = Buffer.from(JSON.stringify({ ...payload, role: "admin" })).toString("base64url");
  for (const value of [
    `${asAdmin}.${signature}`,
    `${text}.`,
    text,
    "",
    ".",
    `${text}.${signature}x`,
    "%",
    "e30.x",
  ])
    expect((await get("/admin/queues/api/queues", { cookie: `wa_session=${value}` })).status).toBe(401);
});

test("a session ends with its key, after 8 hours, and by logging out", async () => {
  const mine = await makeKey("operator");
  const cookie = await session(mine.key);
  const board = () => get("/admin/queues/api/queues", { cookie });
  expect((await board()).status).toBe(200);
  await call(app.url, "DELETE", `/analytics/keys/${mine.id}`, { key: app.adminKey });
  aheadMs += KEY_TTL_MS;
  expect((await board()).status).toBe(401);

  const bootstrap = await session(app.adminKey);
  expect((await get("/admin/queues/api/queues", { cookie: bootstrap })).status).toBe(200);
  await using other = await startTestApp({ databaseUrl: app.databaseUrl });
  const withNewApiKey = await call(other.url, "GET", "/admin/queues/api/queues", {
    headers: { cookie: bootstrap },
  });
  expect(withNewApiKey.status).toBe(401);
  aheadMs += 8 * 3_600_000;
  expect((await get("/admin/queues/api/queues", { cookie: bootstrap })).status).toBe(401);

  expect((await get("/admin/logout")).text).toContain('action="/admin/logout"');
  const out = await call(app.url, "POST", "/admin/logout", {
    headers: { cookie: bootstrap, "sec-fetch-site": "same-origin" },
  });
  expect([out.status, out.headers.get("location")]).toEqual([303, "/admin/login"]);
  expect(out.headers.get("set-cookie")).toMatch(/^wa_session=;.*Expires=Thu, 01 Jan 1970/);
});

test("bodies are limited to 10 KB", async () => {
  const login = await logIn("x".repeat(11_000));
  expect([login.status, login.json.code]).toEqual([413, "body_too_large"]);
  const add = await call(app.url, "POST", "/admin/queues/api/queues/reports/add", {
    key: app.adminKey,
    body: { name: "x", data: { text: "x".repeat(11_000) } },
  });
  expect([add.status, add.json.code]).toEqual([413, "body_too_large"]);
});
