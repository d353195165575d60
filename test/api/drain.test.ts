import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { type Route, route } from "../../src/api/route.js";
import { healthRoutes } from "../../src/api/routes/health.js";
import type { Context } from "../../src/context.js";
import { call, startTestApp } from "../support/app.js";

function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** A request that says when it arrived and answers when it is told to, and a stream that ends with the process. */
function drainRoutes() {
  const arrived = gate();
  const answer = gate();
  const routes = (context: Context): Route[] => [
    ...healthRoutes(context),
    route({
      method: "get",
      path: "/slow",
      access: "public",
      async handler(_request, response) {
        arrived.open();
        await answer.opened;
        response.json("done");
      },
    }),
    route({
      method: "get",
      path: "/stream",
      access: "public",
      stream: true,
      handler(request, response) {
        response.write("first\n");
        request.draining.addEventListener("abort", () => response.end("last\n"));
      },
    }),
    route({
      method: "get",
      path: "/endless",
      access: "public",
      stream: true,
      handler: (_request, response) => void response.write("first\n"),
    }),
  ];
  return { arrived, answer, routes };
}

test("open requests finish, streams are ended, readiness turns, nothing new is accepted", async () => {
  const { arrived, answer, routes } = drainRoutes();
  const app = await startTestApp({ routes });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const slow = call(app.url, "GET", "/slow");
  const stream = await fetch(`${app.url}/stream`);
  await arrived.opened;
  expect((await call(app.url, "GET", "/analytics/health/ready")).status).toBe(200);
  const drained = app.drain();
  expect(await stream.text()).toBe("first\nlast\n");
  const refused = await new Promise<string>((resolve) => {
    httpRequest(`${app.url}/analytics/health`, { agent })
      .on("response", (response) => resolve(String(response.statusCode)))
      .on("error", (error: NodeJS.ErrnoException) => resolve(error.code!))
      .end();
  });
  expect(refused).toBe("ECONNREFUSED");
  answer.open();
  const reply = await slow;
  expect([reply.status, reply.json]).toEqual([200, "done"]);
  await drained;
  await app.drain();
  await app.close();
});

test("on a connection that is open already, readiness says that the process drains", async () => {
  const { arrived, answer, routes } = drainRoutes();
  const app = await startTestApp({ routes });
  const { hostname, port } = new URL(app.url);
  const socket = connect(Number(port), hostname);
  const received = new Promise<string>((resolve) => {
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
    });
    socket.on("close", () => resolve(text));
  });
  socket.write("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n");
  await arrived.opened;
  const drained = app.drain();
  socket.write("GET /analytics/health/ready HTTP/1.1\r\nhost: x\r\n\r\n", answer.open);
  const text = await received;
  expect(text).toMatch(/^HTTP\/1.1 200 OK[\s\S]*"done"HTTP\/1.1 503 [\s\S]*\{"status":"draining"\}$/);
  expect(text).toMatch(/connection: close/i);
  await drained;
  await app.close();
});

test("what does not end within the grace is cut", async () => {
  const { routes } = drainRoutes();
  const app = await startTestApp({ routes, env: { SHUTDOWN_GRACE_MS: "200" } });
  const endless = await fetch(`${app.url}/endless`);
  const cut = expect(endless.text()).rejects.toThrow();
  await app.drain();
  await cut;
  await app.close();
});

test("after max_requests the process is told once that it is worn out", async () => {
  const { mkdtemp, rm, writeFile } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const directory = await mkdtemp(join(tmpdir(), "config-"));
  await writeFile(join(directory, "performance.yaml"), "max_requests: 3\n");
  let times = 0;
  const app = await startTestApp({
    env: { CONFIG_DIR: directory },
    onWornOut: () => {
      times += 1;
    },
  });
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    await call(app.url, "GET", "/analytics/health/live");
    seen.push(times);
  }
  expect(seen).toEqual([0, 0, 1, 1, 1]);
  await app.close();
  await rm(directory, { recursive: true });
});
