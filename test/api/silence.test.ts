import { once } from "node:events";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { route } from "../../src/api/route.js";
import { apiRoutes } from "../../src/api/routes/index.js";
import { call, startTestApp, type TestApp, testConfigFolder } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";

const never = () => new Promise<void>(() => {});

let app: TestApp;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "config-"));
  await copyFile(join(testConfigFolder, "security.yaml"), join(folder, "security.yaml"));
  await writeFile(join(folder, "performance.yaml"), "timeout: 1\n");
  app = await startTestApp({
    silenceTimeoutMs: 100,
    env: { CONFIG_DIR: folder },
    routes: (context) => [
      ...apiRoutes(context),
      route({ method: "get", path: "/never", access: "public", handler: never }),
      route({ method: "get", path: "/silent", access: "public", stream: true, handler: never }),
    ],
  });
  await seedMessages(app.context, "shop");
});
afterAll(async () => {
  await app.close();
  await rm(folder, { recursive: true });
});

function open(): Socket {
  const { hostname, port } = new URL(app.url);
  return connect(Number(port), hostname);
}

/** What comes until `end`, or until the connection is cut. */
function readUntil(socket: Socket, end: string): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += String(chunk);
      if (text.includes(end)) resolve(text);
    });
    socket.once("close", () => resolve(text));
  });
}

it("cuts a connection on which nothing moves", async () => {
  const socket = open();
  const [hadError] = (await once(socket.resume(), "close")) as [boolean];
  expect([hadError, socket.bytesRead]).toEqual([false, 0]);
});

it("answers a request that meets its time-out, rather than cutting it for its silence", async () => {
  const { status, json } = await call(app.url, "GET", "/never");
  expect([status, json.code]).toEqual([503, "timeout"]);
});

it("lets a stream wait for its first row, and cuts its connection when it falls silent afterwards", async () => {
  const query = new URLSearchParams({ account_id: "shop", dataset: "messages", ...seedRange });
  const locker = await app.context.pool.connect();
  try {
    await locker.query("begin; lock table messages in access exclusive mode");
    const reader = open();
    const written = new Promise((resolve) =>
      reader.write(
        `GET /analytics/export?${query} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer ${app.adminKey}\r\n\r\n`,
        resolve,
      ),
    );
    const answer = readUntil(reader, "\r\n0\r\n\r\n");
    await written;
    const waiting =
      "select 1 from pg_stat_activity where application_name = 'api export' and state = 'active'";
    await expect.poll(async () => (await app.context.pool.query(waiting)).rowCount).toBe(1);
    // Connected later, and cut: the reader has been silent for longer than the server bears.
    await once(open().resume(), "close");
    await locker.query("commit");
    expect(await answer).toMatch(/^HTTP\/1.1 200 .*\r\n0\r\n\r\n$/s);
    const more = reader.bytesRead;
    reader.write("GET /silent HTTP/1.1\r\nhost: test\r\n\r\n");
    await once(reader, "close");
    expect(reader.bytesRead).toBe(more);
  } finally {
    locker.release(true);
  }
});
