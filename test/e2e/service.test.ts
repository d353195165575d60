import { execFile } from "node:child_process";
import { join } from "node:path";
import { isDeepStrictEqual, promisify } from "node:util";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { generateTraffic } from "../../src/cli/demo/traffic.js";
import { findEmbeddedPostgres, startEmbeddedPostgres } from "../../src/embedded/postgres.js";
import { createQueues } from "../../src/jobs/queue.js";
import { alive, query } from "../embedded/support.js";
import { testConfigFolder } from "../support/app.js";
import { type Compiled, compile } from "../support/compile.js";
import { silentLog } from "../support/postgres.js";
import {
  type Api,
  apiOf,
  childrenOf,
  type Process,
  type Run,
  start,
  stopAll,
  temporaryFolder,
  until,
} from "./support.js";

// The tests follow one service through its life: each begins where the one before has left it.
vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

const period = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2026, 0, 8) };
const range = {
  account_id: "shop",
  from: new Date(period.from).toISOString(),
  to: new Date(period.to).toISOString(),
};
const traffic = generateTraffic({ seed: 7, messages: 2_000, accountId: "shop", ...period });

let compiled: Compiled;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let settings: Record<string, string>;
let service: Process;
let api: Api;
const processes: Process[] = [];

beforeAll(async () => {
  [compiled, folder] = await Promise.all([
    compile(["start.ts", "api/main.ts", "workers/main.ts", "workers/scheduler.ts", "cli/verify.ts"]),
    temporaryFolder(),
  ]);
  settings = {
    DATA_DIR: folder.path,
    CONFIG_DIR: testConfigFolder,
    HOST: "127.0.0.1",
    PORT: "0",
    WORKER_COUNT: "2",
  };
  await startService();
});
afterAll(async () => {
  await stopAll(processes);
  // Only after a failure in the middle: a killed supervisor leaves its database behind.
  if (folder && (await findEmbeddedPostgres(folder.path)))
    await (await startEmbeddedPostgres({ dataDir: folder.path, log: silentLog })).stop();
  await folder?.remove();
  await compiled?.remove();
});

function launch(file: string, env: Record<string, string>): Process {
  const started = start(compiled, file, env);
  processes.push(started);
  return started;
}

async function startService(): Promise<void> {
  service = launch("start.js", settings);
  api = apiOf(await service.ready);
}

const expectedTotals = Object.fromEntries(
  Object.entries(traffic.totals).map(([name, count]) => [`messages_${name}`, count]),
);

/** How many messages the service has counted, by fate. */
async function totals(): Promise<Record<string, number>> {
  const parameters = new URLSearchParams({ ...range, metrics: Object.keys(expectedTotals).join(",") });
  const metrics = await api.json<{ totals: Record<string, number>[] }>(
    "GET",
    `/analytics/metrics?${parameters}`,
  );
  return metrics.totals[0]!;
}

const programs = async () =>
  (await childrenOf(service.pid)).flatMap(({ pid, command }) => {
    const file = command.match(/dist\/([\w/]+)\.js/)?.[1];
    return file ? [{ pid, file }] : [];
  });

it("counts what it is sent and hands out a report", async () => {
  for (let at = 0; at < traffic.events.length; at += 1_000) {
    const events = traffic.events.slice(at, at + 1_000);
    const taken = await api.json("POST", "/analytics/events", { events });
    expect(taken).toMatchObject({ accepted: events.length, duplicates: 0, rejected_total: 0 });
  }
  const sent = performance.now();
  await until("all events are counted", async () => isDeepStrictEqual(await totals(), expectedTotals));
  console.info(`${traffic.events.length} events visible after ${Math.round(performance.now() - sent)} ms`);

  const ordered = await api.json<Run>("POST", "/analytics/reports", {
    ...range,
    template: "message-log",
    format: "csv",
  });
  const { artifact } = await api.finished(ordered.id);
  const { rows, ...file } = artifact!;
  expect(rows).toBe(2_000);
  expect(await api.download(ordered.id)).toEqual({ status: 200, bytes: file.bytes, sha256: file.sha256 });
});

it("shows operators the way in to the queues", async () => {
  const { url } = await service.ready;
  const page = await fetch(`${url}/admin/queues`);
  expect([page.status, new URL(page.url).pathname]).toEqual([200, "/admin/login"]);
  expect(await page.text()).toContain("<form");
});

it("is verified by a command beside it", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(compiled.dist, "cli/verify.js")], {
    env: { PATH: process.env.PATH, ...settings },
  });
  expect(stdout).toContain("shop: 2000 messages, 0 drifted rows, 0 of them conversations");
  expect(stdout).toContain("Drift: 0 rows in 1 accounts.");
});

it("adds each fire of a schedule once, however many schedulers there are", async () => {
  const databaseUrl = (await findEmbeddedPostgres(folder.path))!;
  const second = launch("workers/scheduler.js", { ...settings, DATABASE_URL: databaseUrl });
  await second.ready;
  const since = Date.now();
  const [row] = await query(databaseUrl, "select installation_id from installation");
  const queues = createQueues({
    store: { kind: "postgres", url: databaseUrl, poolSize: 2 },
    installationId: row!.installation_id as string,
    process: "test",
    log: silentLog,
  });
  try {
    const maintenance = queues.all().find(({ name }) => name.includes("maintenance"))!;
    const fires = async (kind: string, everyMs: number) => {
      const found = await maintenance.getJobs(["waiting", "active", "completed", "failed", "delayed"]);
      const done = found.filter((job) => job.name === kind && job.timestamp > since);
      const slots = done.map((job) => Number(job.id!.match(/-at-(\d+)$/)?.[1]) / everyMs);
      return slots.sort((a, b) => a - b);
    };
    const folds = await until("three looks for lag", async () => {
      const slots = await fires("folds.find-lag", 5_000);
      return slots.length >= 3 && slots;
    });
    const sweeps = await fires("runs.sweep", 10_000);
    for (const slots of [folds, sweeps]) expect(slots).toEqual(slots.map((_, index) => slots[0]! + index));
    expect(sweeps.length).toBeGreaterThanOrEqual(1);
  } finally {
    await queues.close();
    await stopAll([second]);
  }
  expect(await second.ended).toBe(0);
});

it("replaces a worker that was killed", async () => {
  const workersNow = async () => (await programs()).filter(({ file }) => file === "workers/main");
  const before = await workersNow();
  expect(before).toHaveLength(2);
  const [victim, other] = before.map(({ pid }) => pid);
  process.kill(victim!, "SIGKILL");
  const after = await until("a new worker", async () => {
    const found = (await workersNow()).map(({ pid }) => pid);
    return found.length === 2 && !found.includes(victim!) && found;
  });
  expect(after).toContain(other);
  const ordered = await api.json<Run>("POST", "/analytics/reports", {
    ...range,
    template: "delivery-summary",
    format: "xlsx",
  });
  expect((await api.finished(ordered.id)).attempt).toBe(1);
});

it("leaves no process behind when the supervisor is killed, and starts again with its data", async () => {
  const children = await programs();
  expect(children.map(({ file }) => file).sort()).toEqual([
    "api/main",
    "workers/main",
    "workers/main",
    "workers/scheduler",
  ]);
  const counted = await totals();
  service.child.kill("SIGKILL");
  const killedAt = performance.now();
  await service.ended;
  const living = () => Promise.all(children.map(({ pid }) => alive(pid)));
  await until("the children have ended", async () => !(await living()).includes(true));
  console.info(`children of a killed supervisor gone after ${Math.round(performance.now() - killedAt)} ms`);

  await startService();
  expect(await totals()).toEqual(counted);
  const [first] = traffic.events;
  expect(await api.json("POST", "/analytics/events", { events: [first] })).toMatchObject({
    accepted: 0,
    duplicates: 1,
  });
});

it("takes everything down with it when it is asked to stop", async () => {
  const children = await childrenOf(service.pid);
  expect(children.length).toBeGreaterThanOrEqual(4);
  service.child.kill("SIGTERM");
  expect(await service.ended).toBe(0);
  expect(await Promise.all(children.map(({ pid }) => alive(pid)))).toEqual(children.map(() => false));
  expect(await findEmbeddedPostgres(folder.path)).toBeUndefined();
});
