import { once } from "node:events";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { findEmbeddedPostgres } from "../../src/embedded/postgres.js";
import { alive, query, until } from "../embedded/support.js";
import type { Compiled } from "../support/compile.js";
import { compileService, dataFolder, getJson, type Service, startService } from "./support.js";

// Each test starts a database and five processes.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let compiled: Compiled;
let folder: Awaited<ReturnType<typeof dataFolder>>;
let services: Service[] = [];

beforeAll(async () => {
  compiled = await compileService();
});
afterAll(() => compiled?.remove());
beforeEach(async () => {
  folder = await dataFolder();
});
afterEach(async () => {
  for (const { child, exit } of services) {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await exit;
  }
  services = [];
  await folder.remove();
});

function start(env: Record<string, string> = {}): Service {
  const service = startService(compiled, folder.dataDir, env);
  services.push(service);
  return service;
}

async function stop(service: Service): Promise<number | null> {
  service.child.kill("SIGTERM");
  const [code] = await service.exit;
  return code;
}

test("one command brings everything up, tells how to reach it, and takes everything down again", async () => {
  await writeFile(join(folder.dataDir, "performance.yaml"), "worker_processes: 2\nthread_pool: 7\n");
  const service = start({ WORKER_COUNT: "2", REDIS_URL: "redis://user:hidden-secret@redis.test:6379/2" });
  const { url, apiKey, pid } = await service.ready;
  expect(pid).toBe(service.child.pid);
  expect(apiKey).toMatch(/^wa_[\w-]{43}$/);
  expect((await stat(join(folder.dataDir, "api-key"))).mode & 0o777).toBe(0o600);

  const events = await service.events();
  expect(events[0]).toBe("migrate /analytics");
  expect(events.slice(1).sort()).toEqual([
    "api ready",
    "api ready",
    "scheduler ready",
    "worker ready",
    "worker ready",
  ]);
  expect(service.output()).toContain(`${url}/analytics/health`);
  expect(service.output()).toContain(`${url}/admin/queues`);
  expect(service.output()).toContain(apiKey);
  expect(service.output()).toContain("redis://redis.test:6379/2");
  expect(service.output()).not.toContain("hidden-secret");

  const env = await getJson(`${url}/env`);
  expect(env).toMatchObject({ API_KEY: apiKey, PORT: new URL(url).port, UV_THREADPOOL_SIZE: "7" });
  const databaseUrl = String(env.DATABASE_URL);
  expect(await query(databaseUrl, "select 1 as one")).toEqual([{ one: 1 }]);
  expect(await findEmbeddedPostgres(folder.dataDir)).toBe(databaseUrl);

  expect(await stop(service)).toBe(0);
  expect((await service.events()).filter((event) => event.endsWith("drains asked"))).toHaveLength(5);
  for (const name of ["api", "worker", "scheduler"])
    for (const child of await service.pids(name, "ready")) expect(await alive(child)).toBe(false);
  expect(await findEmbeddedPostgres(folder.dataDir)).toBeUndefined();
  expect(service.output()).not.toContain("child ended");

  const again = start({ API_KEY: "" });
  expect((await again.ready).apiKey).toBe(apiKey);
});

test("a key from the environment is neither printed nor kept", async () => {
  const key = "chosen-by-the-operator";
  await writeFile(join(folder.dataDir, "key"), key);
  const service = start({ API_KEY_FILE: join(folder.dataDir, "key") });
  const { url, apiKey } = await service.ready;
  expect(apiKey).toBe(key);
  expect(service.output()).toContain("from API_KEY");
  expect(service.output()).not.toContain(key);
  // Both at once would be a contradiction to the child.
  const env = await getJson(`${url}/env`);
  expect([env.API_KEY, env.API_KEY_FILE]).toEqual([key, undefined]);
  await expect(stat(join(folder.dataDir, "api-key"))).rejects.toThrow("ENOENT");
});

test("killed children, and a killed database, come back where they were", async () => {
  const service = start();
  const { url } = await service.ready;
  const databaseUrl = (await getJson(`${url}/env`)).DATABASE_URL as string;
  for (const name of ["worker", "scheduler", "api"]) {
    const [pid = 0] = await service.pids(name, "ready");
    process.kill(pid, "SIGKILL");
    await until(async () => (await service.pids(name, "ready")).length === 2);
  }
  expect((await getJson(`${url}/pid`)).pid).toBe((await service.pids("api", "ready"))[1]);
  expect(service.output()).toMatch(/"child":"worker 1","how":"SIGKILL".*"restartInMs":250/);

  const pidFile = join(folder.dataDir, "postgres/postmaster.pid");
  const postgres = Number((await readFile(pidFile, "utf8")).split("\n")[0]);
  process.kill(postgres, "SIGKILL");
  await until(() => service.output().includes("the embedded PostgreSQL ended"));
  await until(() =>
    query(databaseUrl, "select 1").then(
      () => true,
      () => false,
    ),
  );
  expect(await stop(service)).toBe(0);
  expect(await findEmbeddedPostgres(folder.dataDir)).toBeUndefined();
});

test("an API process that has served its requests is replaced at once", async () => {
  const service = start();
  const { url } = await service.ready;
  const { pid } = await getJson(`${url}/exit`);
  await until(async () => (await service.pids("api", "ready")).length === 2);
  expect((await getJson(`${url}/pid`)).pid).not.toBe(pid);
  expect(service.output()).toMatch(/"child":"api 1","how":"code 0".*"restartInMs":0/);
});

test("an API process that retires serves until its successor does, so that nobody is turned away", async () => {
  const service = start();
  const { url } = await service.ready;
  const inFlight = getJson(`${url}/wait`);
  await until(async () => (await getJson(`${url}/waiting`)).count === 1);
  const hold = join(folder.dataDir, "hold");
  await writeFile(hold, "");
  const { pid, asked } = await getJson(`${url}/retire`);
  expect(asked).toBe(true);
  const answeredBy = new Set([(await getJson(`${url}/pid`)).pid]);
  await rm(hold);
  while (!(await service.events()).includes("api exits")) answeredBy.add((await getJson(`${url}/pid`)).pid);
  expect((await inFlight).pid).toBe(pid);
  answeredBy.add((await getJson(`${url}/pid`)).pid);
  expect([...answeredBy]).toEqual(await service.pids("api", "ready"));
  expect(service.output()).not.toContain("child ended");
});

test("a connection that is on its way to an API process when that ends is served by its successor", async () => {
  const SUCCESSORS = 10;
  const service = start();
  const { url } = await service.ready;
  let isOver = false;
  const clients = Array.from({ length: 4 }, async () => {
    // One that nobody looks at would hang for ever.
    while (!isOver) await fetch(`${url}/pid`, { signal: AbortSignal.timeout(20_000) });
  });
  const replaced = async () => {
    for (let count = 1; count <= SUCCESSORS; count++) {
      await getJson(`${url}/retire`);
      await until(async () => (await service.pids("api", "exits")).length === count);
    }
  };
  await Promise.race([replaced(), Promise.all(clients)]);
  isOver = true;
  await Promise.all(clients);
});

test("Ctrl-C, which reaches every process of the group, drains once and restarts nobody", async () => {
  const service = start();
  await service.ready;
  process.kill(-service.child.pid!, "SIGINT");
  // npm passes it on a second time.
  service.child.kill("SIGINT");
  expect(await service.exit).toEqual([0, null]);
  const events = await service.events();
  expect(events.filter((event) => event.endsWith("drains asked"))).toHaveLength(3);
  expect(events.filter((event) => event.endsWith("ready"))).toHaveLength(3);
  expect(await findEmbeddedPostgres(folder.dataDir)).toBeUndefined();
});

test("a child that does not drain is killed after the grace period, and the database is still stopped", async () => {
  const service = start({ WORKER_MANNERS: "stubborn", SHUTDOWN_GRACE_MS: "0" });
  await service.ready;
  expect(await stop(service)).toBe(0);
  expect(service.output()).toMatch(
    /did not drain in time.*"child":"worker 1"|"child":"worker 1".*did not drain/,
  );
  for (const pid of await service.pids("worker", "ready")) expect(await alive(pid)).toBe(false);
  expect(await findEmbeddedPostgres(folder.dataDir)).toBeUndefined();
});

test("a child that hands its job back after the grace is left the time for it", async () => {
  const service = start({ WORKER_MANNERS: "slow", SHUTDOWN_GRACE_MS: "0" });
  await service.ready;
  expect(await stop(service)).toBe(0);
  expect(await service.events()).toContain("worker lets go");
  expect(service.output()).not.toContain("did not drain");
});

test("a second signal ends the wait at once, but not the care for the database", async () => {
  const service = start({ WORKER_MANNERS: "stubborn", SHUTDOWN_GRACE_MS: "600000" });
  await service.ready;
  service.child.kill("SIGTERM");
  await until(async () => (await service.events()).includes("worker drains asked"));
  const impatience = setInterval(() => service.child.kill("SIGTERM"), 100);
  expect(await service.exit).toEqual([1, null]);
  clearInterval(impatience);
  for (const pid of await service.pids("worker", "ready")) expect(await alive(pid)).toBe(false);
  expect(await findEmbeddedPostgres(folder.dataDir)).toBeUndefined();
});

test("when the supervisor is killed its children drain by themselves, and the next start takes over", async () => {
  const killed = start();
  const { url, apiKey } = await killed.ready;
  const inFlight = getJson(`${url}/wait`);
  await getJson(`${url}/pid`);
  killed.child.kill("SIGKILL");
  expect((await inFlight).pid).toBe((await killed.pids("api", "ready"))[0]);
  await until(async () => (await killed.events()).filter((event) => event.endsWith("exits")).length === 3);
  expect((await killed.events()).filter((event) => event.endsWith("drains orphaned"))).toHaveLength(3);

  const next = start();
  expect((await next.ready).apiKey).toBe(apiKey);
});

test("a start that fails half-way stops what it has started and says why", async () => {
  const service = start({ WORKER_MANNERS: "broken" });
  expect(await service.exit).toEqual([1, null]);
  expect(service.errors().trim()).toBe("worker 1 ended 3 times before it was ready (code 3)");
  expect((await service.events()).filter((event) => event === "worker breaks")).toHaveLength(3);
  for (const pid of await service.pids("api", "ready")) expect(await alive(pid)).toBe(false);
  expect(await findEmbeddedPostgres(folder.dataDir)).toBeUndefined();
});

test("mistakes that can be known beforehand start nothing and come without a stack", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const taken = start({ PORT: String(port) });
  const wrong = start({ NODE_ENV: "production" });
  expect([await taken.exit, await wrong.exit]).toEqual([
    [1, null],
    [1, null],
  ]);
  other.close();
  expect(taken.errors()).toMatch(/^Port \d+ on 127.0.0.1 cannot be used: another program listens there/);
  expect(wrong.errors()).toMatch(/DATABASE_URL: required with NODE_ENV=production/);
  expect(wrong.errors()).not.toContain("    at ");
  expect(await taken.events()).toEqual([]);
});
