import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Route, route } from "../../src/api/route.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

const SECRET = "the password is hunter2";
const bug = () => new Error(SECRET);

async function* halfAnAnswer() {
  yield "the first half";
  throw bug();
}

const routes = (): Route[] => [
  route({
    method: "get",
    path: "/sync",
    access: "public",
    handler() {
      throw bug();
    },
  }),
  route({ method: "get", path: "/async", access: "public", handler: () => Promise.reject(bug()) }),
  route({ method: "get", path: "/keyed", access: ["admin"], handler: () => Promise.reject(bug()) }),
  route({
    method: "get",
    path: "/stream",
    access: "public",
    stream: true,
    handler: (_request, response) => pipeline(Readable.from(halfAnAnswer()), response),
  }),
];

let app: TestApp;
const logged: Record<string, unknown>[] = [];
beforeAll(async () => {
  app = await startTestApp({
    routes: (context) => {
      // What is logged is read where it is made into a line.
      context.log.silent = false;
      for (const transport of context.log.transports)
        transport.log = (info: Record<string, unknown>, next: () => void) => {
          logged.push(info);
          next();
        };
      return routes();
    },
  });
});
afterAll(() => app.close());

it.each(["/sync", "/async", "/keyed"])(
  "F45: what %s throws is a problem document without its text",
  async (path) => {
    const reply = await call(app.url, "GET", path, { key: app.adminKey });
    expect([reply.status, reply.json.code]).toEqual([500, "internal_error"]);
    expect(reply.headers.get("content-type")).toBe("application/problem+json");
    expect(reply.text).not.toMatch(/hunter2|\bat .*:\d+/);
    const line = logged.find(({ requestId }) => requestId === reply.json.instance);
    expect(JSON.stringify(line)).toContain(SECRET);
  },
);

it("F45: a stream that breaks after its start is cut, and the process goes on", async () => {
  await expect(call(app.url, "GET", "/stream")).rejects.toThrow();
  expect((await call(app.url, "GET", "/sync")).status).toBe(500);
});
