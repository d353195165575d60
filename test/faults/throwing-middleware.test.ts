import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express, RequestHandler } from "express";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createApp } from "../../src/api/app.js";
import { readJsonBody } from "../../src/api/body.js";
import { generateKey } from "../../src/api/identity.js";
import { type Route, route } from "../../src/api/route.js";
import type { Context } from "../../src/context.js";
import type { Log } from "../../src/log.js";
import { call, type Reply, startTestApp, type TestApp } from "../support/app.js";

const SECRET = "the password is hunter2";
const bug = () => new Error(SECRET);

const routes: Route[] = [
  route({
    method: "get",
    path: "/fine",
    access: "public",
    handler: (_request, response) => void response.json(1),
  }),
  route({
    method: "get",
    path: "/keyed",
    access: ["viewer"],
    handler: (_request, response) => void response.json(1),
  }),
  route({
    method: "get",
    path: "/uncounted",
    access: "public",
    limit: "no such class" as never,
    handler: () => {},
  }),
  route({
    method: "post",
    path: "/body",
    access: "public",
    handler: async (request) =>
      void (await readJsonBody(request, {
        get maxBytes(): number {
          throw bug();
        },
      })),
  }),
  route({
    method: "get",
    path: "/ring",
    access: "public",
    handler() {
      const error = bug();
      error.cause = error;
      throw error;
    },
  }),
  route({
    method: "get",
    path: "/unspeakable",
    access: "public",
    handler() {
      throw Object.defineProperty(bug(), "message", {
        get() {
          throw bug();
        },
      });
    },
  }),
];

let app: TestApp;
const logged: Record<string, unknown>[] = [];
beforeAll(async () => {
  app = await startTestApp({
    routes: (context) => {
      // What is logged is read where it is made into a line.
      Object.assign(context.log, { silent: false, level: "warn" });
      for (const transport of context.log.transports)
        transport.log = (info: Record<string, unknown>, next: () => void) => {
          logged.push(info);
          next();
        };
      return routes;
    },
  });
});
afterAll(() => app.close());

/** The application with one middleware more before the one at this place, and what it answers there. */
async function answerWith(
  context: Context,
  spoil: (express: Express) => void,
  path = "/nowhere",
  options: { draining?: AbortSignal } = {},
): Promise<Reply> {
  const express = createApp(context, routes, options);
  spoil(express);
  const server = createServer(express).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    return await call(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, "GET", path);
  } finally {
    server.close();
  }
}

function insert(express: Express, place: number, middleware: RequestHandler): void {
  express.use(middleware);
  const { stack } = express.router;
  stack.splice(place, 0, stack.pop()!);
}

/** 500 without a word of why, which the log has, under the id that the client got. */
function expectHidden(reply: Reply, cause: string | RegExp = SECRET): void {
  expect([reply.status, reply.json?.code]).toEqual([500, "internal_error"]);
  expect(reply.headers.get("content-type")).toBe("application/problem+json");
  expect(reply.text).not.toMatch(/hunter2|\bat .*:\d+/);
  expect(reply.headers.get("x-request-id")).toBe(reply.json.instance);
  const lines = logged.filter(
    ({ requestId, message }) => requestId === reply.json.instance && message === "request failed",
  );
  expect(lines).toHaveLength(1);
  expect(JSON.stringify(lines)).toMatch(cause);
}

const throwers: [how: string, middleware: RequestHandler][] = [
  [
    "throws",
    () => {
      throw bug();
    },
  ],
  ["rejects", () => Promise.reject(bug())],
  ["passes on an error", (_request, _response, next) => next(bug())],
];

it.each(throwers)("F45: a middleware that %s, at any place", async (_how, middleware) => {
  // The last two say that there is nothing here, and handle errors.
  const places = createApp(app.context, routes).router.stack.length - 1;
  expect(places).toBeGreaterThan(routes.length + 2);
  for (let place = 0; place < places; place++)
    expectHidden(await answerWith(app.context, (express) => insert(express, place, middleware)));
});

const failing = (name: string) => ({
  [name]: {
    get() {
      throw bug();
    },
  },
});

it("F45: the scope of the request itself", async () => {
  const draining = Object.create(new AbortController().signal, failing("aborted")) as AbortSignal;
  expectHidden(await answerWith(app.context, () => {}, "/fine", { draining }));
});

it("F45: the log of the request", async () => {
  const log = Object.create(app.context.log, failing("child")) as Log;
  expectHidden(await answerWith({ ...app.context, log }, () => {}, "/ring"));
});

it.each([
  ["limiter", "GET", "/uncounted", /perMinute/],
  ["reading of the body", "POST", "/body", SECRET],
  ["handler, with an error that is its own cause", "GET", "/ring", SECRET],
])("F45: the %s", async (_where, method, path, cause) => {
  expectHidden(await call(app.url, method, path, method === "POST" ? { body: {} } : {}), cause);
});

it("F45: the look-up of the key", async () => {
  const { key } = generateKey();
  await app.context.pool.query("alter table api_keys rename to api_keys_away");
  expectHidden(await call(app.url, "GET", "/keyed", { key }), /api_keys/);
  await app.context.pool.query("alter table api_keys_away rename to api_keys");
  expect((await call(app.url, "GET", "/keyed", { key })).status).toBe(401);
});

it("F45: the error handler's own log line", async () => {
  const warned = once(process, "warning");
  const reply = await call(app.url, "GET", "/unspeakable");
  expect([reply.status, reply.json.code]).toEqual([500, "internal_error"]);
  expect(reply.text).not.toMatch(/hunter2|\bat .*:\d+/);
  const [warning] = (await warned) as [Error];
  expect(warning.message).toContain(reply.json.instance);
  expect((await call(app.url, "GET", "/fine")).status).toBe(200);
});

it("F45: the look-up of the key with no connection to the database", async () => {
  const { pool } = app.context;
  const held = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  const reply = await call(app.url, "GET", "/keyed", { key: generateKey().key });
  for (const client of held) client.release();
  expect([reply.status, reply.json.code]).toEqual([503, "database_unavailable"]);
  const line = logged.find(({ requestId, level }) => requestId === reply.json.instance && level === "warn");
  expect(JSON.stringify(line)).toContain("timeout exceeded when trying to connect");
});
