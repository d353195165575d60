import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { createApp } from "../../src/api/app.js";
import { readJsonBody } from "../../src/api/body.js";
import { parseInput, readQuery } from "../../src/api/input.js";
import { type Route, route } from "../../src/api/route.js";
import * as errors from "../../src/errors.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

const thrown: Record<string, () => unknown> = {
  invalid: () => new errors.InvalidInput("some_code", "said so"),
  unauthorized: () => new errors.Unauthorized("some_code", "said so"),
  forbidden: () => new errors.Forbidden("some_code", "said so"),
  missing: () => new errors.NotFound("some_code", "said so"),
  conflict: () => new errors.Conflict("some_code", "said so"),
  gone: () => new errors.Gone("some_code", "said so"),
  large: () => new errors.TooLarge("some_code", "said so"),
  media: () => new errors.UnsupportedMedia("some_code", "said so"),
  range: () => new errors.RangeNotSatisfiable("some_code", "said so"),
  away: () => new errors.Unavailable("some_code", "said so", { headers: { "retry-after": "7" } }),
  bug: () => new Error("the password is hunter2"),
  text: () => "not even an error",
  refused: () => Object.assign(new Error("connect"), { code: "ECONNREFUSED" }),
  shutdown: () => Object.assign(new Error("terminating"), { code: "57P01" }),
  starting: () => Object.assign(new Error("starting up"), { code: "57P03" }),
  broken: () => Object.assign(new Error("broken"), { code: "08006" }),
  full: () => Object.assign(new Error("too many clients"), { code: "53300" }),
  exhausted: () => new Error("timeout exceeded when trying to connect"),
  slow: () => Object.assign(new Error("canceling statement due to statement timeout"), { code: "57014" }),
  syntax: () => Object.assign(new Error("syntax error at hunter2"), { code: "42601" }),
};

const body = z.strictObject({ name: z.string(), items: z.array(z.strictObject({ size: z.number() })) });

const testRoutes = (): Route[] => [
  route({
    method: "get",
    path: "/throw/:what",
    access: "public",
    async handler(request) {
      throw thrown[String(request.params.what)]!();
    },
  }),
  route({
    method: "get",
    path: "/query",
    access: "public",
    handler: (request, response) =>
      void response.json(
        readQuery(
          request,
          z.strictObject({ a: z.string().optional(), "filter[template]": z.string().optional() }),
        ),
      ),
  }),
  route({
    method: "post",
    path: "/body",
    access: "public",
    async handler(request, response) {
      response.json(parseInput(body, await readJsonBody(request, { maxBytes: 10_000 })));
    },
  }),
  route({ method: "get", path: "/hang", access: "public", handler: () => new Promise(() => {}) }),
  route({
    method: "get",
    path: "/cut",
    access: "public",
    handler(_request, response) {
      response.setHeader("content-type", "text/plain");
      response.write("the beginning");
      throw new Error("in the middle");
    },
  }),
  route({ method: "get", path: "/thing/:id", access: "public", handler: (_q, r) => void r.json("any") }),
  route({
    method: "get",
    path: "/thing/latest",
    access: "public",
    handler: (_q, r) => void r.json("latest"),
  }),
];

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ routes: testRoutes });
});
afterAll(() => app.close());

test.each([
  ["invalid", 400, "some_code"],
  ["unauthorized", 401, "some_code"],
  ["forbidden", 403, "some_code"],
  ["missing", 404, "some_code"],
  ["conflict", 409, "some_code"],
  ["gone", 410, "some_code"],
  ["large", 413, "some_code"],
  ["media", 415, "some_code"],
  ["range", 416, "some_code"],
  ["away", 503, "some_code"],
  ["bug", 500, "internal_error"],
  ["text", 500, "internal_error"],
  ["refused", 503, "database_unavailable"],
  ["shutdown", 503, "database_unavailable"],
  ["starting", 503, "database_unavailable"],
  ["broken", 503, "database_unavailable"],
  ["full", 503, "database_unavailable"],
  ["exhausted", 503, "database_unavailable"],
  ["slow", 503, "database_busy"],
  ["syntax", 500, "internal_error"],
])("%s is a problem document of status %i", async (what, status, code) => {
  const reply = await call(app.url, "GET", `/throw/${what}`);
  expect(reply.status).toBe(status);
  expect(reply.headers.get("content-type")).toBe("application/problem+json");
  expect(reply.headers.get("cache-control")).toBe("no-store");
  expect(reply.json).toEqual({
    type: `urn:whatsapp-analytics:error:${code}`,
    title: expect.any(String),
    status,
    code,
    detail: expect.any(String),
    instance: reply.headers.get("x-request-id"),
  });
  expect(reply.text).not.toContain("hunter2");
  if (status === 503) expect(Number(reply.headers.get("retry-after"))).toBeGreaterThan(0);
  if (status === 401) expect(reply.headers.get("www-authenticate")).toBe("Bearer");
});

test("every answer has its own request id and the headers of an API", async () => {
  const mine = { "x-request-id": "mine" };
  const [first, second] = await Promise.all([
    call(app.url, "GET", "/query", { headers: mine }),
    call(app.url, "GET", "/query", { headers: mine }),
  ]);
  const ids = [first.headers.get("x-request-id"), second.headers.get("x-request-id")];
  expect(new Set([...ids, "mine"]).size).toBe(3);
  expect(first.headers.get("x-powered-by")).toBeNull();
  expect(first.headers.get("x-content-type-options")).toBe("nosniff");
  expect(first.headers.get("content-security-policy")).toContain("default-src 'none'");
});

test("unknown path 404, known path with a wrong method 405 with Allow, OPTIONS and HEAD answered", async () => {
  const unknown = await call(app.url, "GET", "/nowhere");
  expect([unknown.status, unknown.json.code]).toEqual([404, "not_found"]);
  const wrong = await call(app.url, "DELETE", "/query");
  expect([wrong.status, wrong.json.code]).toEqual([405, "method_not_allowed"]);
  expect(wrong.headers.get("allow")).toBe("GET, HEAD, OPTIONS");
  const options = await call(app.url, "OPTIONS", "/body");
  expect([options.status, options.headers.get("allow"), options.text]).toEqual([204, "OPTIONS, POST", ""]);
  const head = await call(app.url, "HEAD", "/query");
  expect([head.status, head.text]).toEqual([200, ""]);
  const undecodable = await call(app.url, "GET", "/throw/%E0%A4%A");
  expect(undecodable.status).toBe(404);
});

test("a literal path wins over a parameter, whatever the order of the list", async () => {
  expect((await call(app.url, "GET", "/thing/latest")).json).toBe("latest");
  expect((await call(app.url, "GET", "/thing/1")).json).toBe("any");
});

test("two routes with one method and path are refused", () => {
  const twice = route({ method: "get", path: "/x", access: "public", handler: () => {} });
  expect(() => createApp(app.context, [twice, twice])).toThrow("two routes for get /x");
});

test("query: unknown and doubled parameters are named, filter[…] is a plain name", async () => {
  const good = await call(app.url, "GET", "/query?a=1&filter[template]=x,y");
  expect(good.json).toEqual({ a: "1", "filter[template]": "x,y" });
  const unknown = await call(app.url, "GET", "/query?b=1&__proto__=2&filter[__proto__]=3");
  expect(unknown.status).toBe(400);
  expect(unknown.json.errors).toEqual(
    ["b", "__proto__", "filter[__proto__]"].map((path) => ({
      path,
      code: "unknown_parameter",
      message: "unknown parameter",
    })),
  );
  const doubled = await call(app.url, "GET", "/query?a=1&a=1");
  expect(doubled.json.errors).toEqual([
    { path: "a", code: "duplicate_parameter", message: "is given twice" },
  ]);
  const nul = await call(app.url, "GET", "/query?a=%00");
  expect([nul.status, nul.json.errors[0].code]).toEqual([400, "invalid_text"]);
});

test("body: every mistake is listed with its path", async () => {
  const reply = await call(app.url, "POST", "/body", {
    raw: '{"items":[{"size":1},{"size":"2"}],"__proto__":{"admin":true},"more":1}',
    headers: { "content-type": "application/json" },
  });
  expect(reply.status).toBe(400);
  expect(reply.json.code).toBe("invalid_input");
  expect(reply.json.errors.map((issue: errors.InputIssue) => [issue.path, issue.code])).toEqual([
    ["name", "required"],
    ["items[1].size", "invalid_type"],
    ["__proto__", "unknown_field"],
    ["more", "unknown_field"],
  ]);
});

test("an ordinary request that hangs is answered 503; an answer that breaks off is cut, not completed", async () => {
  const quick = { ...app.context.config, http: { ...app.context.config.http, timeoutMs: 100 } };
  const { createServer } = await import("node:http");
  const server = createServer(createApp({ ...app.context, config: quick }, testRoutes()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  try {
    const reply = await call(`http://127.0.0.1:${port}`, "GET", "/hang");
    expect([reply.status, reply.json.code]).toEqual([503, "timeout"]);
  } finally {
    server.close();
    server.closeAllConnections();
  }
  await expect(call(app.url, "GET", "/cut")).rejects.toThrow();
});

test.each([
  ["GET / HTTP/1.1\r\nhost: x\r\nbroken header\r\n\r\n", 400, "bad_request"],
  [`GET / HTTP/1.1\r\nhost: x\r\nx-long: ${"a".repeat(20_000)}\r\n\r\n`, 431, "headers_too_large"],
])("what is not HTTP gets a problem document too", async (bytes, status, code) => {
  const { hostname, port } = new URL(app.url);
  const text = await new Promise<string>((resolve, reject) => {
    let received = "";
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.setEncoding("utf8").on("data", (chunk) => {
      received += chunk;
    });
    socket.on("close", () => resolve(received)).on("error", reject);
  });
  expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(JSON.parse(text.split("\r\n\r\n")[1]!)).toMatchObject({ status, code });
});
