import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { API_KEY, type Installation, startInstallation } from "../../e2e/installation.js";
import { type Process, until } from "../../e2e/support.js";
import { hasRedis } from "../../support/redis.js";

const LIMIT = 64;
const LINES_AT_MOST = 60;
const canLimit = hasRedis && spawnSync("prlimit", ["--version"]).status === 0;
if (!canLimit) console.warn("prlimit or redis-server is missing: used-up descriptors are skipped");

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let service: Installation;
beforeAll(async () => {
  if (!canLimit) return;
  service = await startInstallation({ queues: "redis" });
  await service.seedMessages(1_000);
});
afterAll(() => service?.stop());

/** As `ulimit -n` does, while it runs. The soft limit only, so that it can be lifted again. */
function limit({ pid }: Process, descriptors: number): void {
  const { status } = spawnSync("prlimit", ["--pid", String(pid), `--nofile=${descriptors}:`]);
  expect(status).toBe(0);
}
const lines = (process: Process) => process.output().split("\n").length;
const open = ({ pid }: Process) => readdirSync(`/proc/${pid}/fd`).length;

const post = async (url: string, id: string) => {
  const event = {
    account_id: "acme",
    type: "message.sent",
    message_id: id,
    occurred_at: "2026-01-15T00:00:00Z",
  };
  return fetch(`${url}/analytics/events`, {
    method: "POST",
    headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ events: [event] }),
    signal: AbortSignal.timeout(5_000),
  }).then(
    (response) => response.status,
    () => 0,
  );
};

it.skipIf(!canLimit)("F17: an API without descriptors refuses, says so seldom, and recovers", async () => {
  const api = service.process("api");
  const { url } = await api.ready;
  expect(await post(url, "before")).toBe(200);
  limit(api, LIMIT);
  const sockets: Socket[] = [];
  const { port, hostname } = new URL(url);
  for (let n = 0; n < 2 * LIMIT; n++) {
    const socket = connect(Number(port), hostname).on("error", () => {});
    socket.write("GET /analytics/health/live HTTP/1.1\r\nhost: x\r\n\r\n");
    sockets.push(socket);
  }
  await until("no descriptor is left", () => open(api) >= LIMIT - 2);
  const before = lines(api);
  const statuses = new Set<number>();
  for (let n = 0; n < 20; n++) statuses.add(await post(url, `during-${n}`));
  console.info(`answers without descriptors: ${[...statuses].join(" ")}; ${lines(api) - before} log lines`);
  for (const status of statuses) expect([0, 200, 503]).toContain(status);
  for (const socket of sockets) socket.destroy();
  await until("events are taken again", async () => (await post(url, "after")) === 200, { withinMs: 10_000 });
  expect(api.child.exitCode).toBeNull();
  expect(lines(api) - before).toBeLessThan(LINES_AT_MOST);
  limit(api, 1_024);
});

it.skipIf(!canLimit)(
  "F17: a worker without descriptors loses no run, says so seldom, and recovers",
  async () => {
    const worker = service.process("worker");
    await service.api.finished((await service.orderLog()).id);
    const before = lines(worker);
    // Its database connections end and cannot be replaced.
    limit(worker, 10);
    await service.test.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name like 'worker%' and datname = current_database()`,
    );
    const { id } = await service.orderLog();
    await until("it has tried in vain", () => worker.output().includes("EMFILE"));
    expect(worker.child.exitCode).toBeNull();
    expect((await service.api.run(id)).status).not.toBe("succeeded");
    console.info(`${lines(worker) - before} log lines of the worker`);
    expect(lines(worker) - before).toBeLessThan(LINES_AT_MOST);
    limit(worker, 1_024);
    await service.api.finished(id, 60_000);
  },
);
