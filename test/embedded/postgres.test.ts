import { once } from "node:events";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import {
  type EmbeddedPostgres,
  EmbeddedPostgresError,
  findEmbeddedPostgres,
  startEmbeddedPostgres,
} from "../../src/embedded/postgres.js";
import { type Compiled, compile } from "../support/compile.js";
import { alive, fast, query, serverProcess, silent, stopProcess, temporaryFolder, until } from "./support.js";

// Each test makes at least one cluster.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let compiled: Compiled;
const running: EmbeddedPostgres[] = [];
beforeAll(async () => {
  compiled = await compile(["embedded/postgres.ts"]);
});
afterAll(async () => {
  for (const server of running) await server.stop();
  await compiled?.remove();
});

async function start(dataDir: string, settings: Record<string, string> = fast): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDir, log: silent, settings });
  running.push(server);
  return server;
}

test("the first start makes a durable, private server, and a restart keeps data and password", async () => {
  const dataDir = join(await temporaryFolder(), "data");
  const first = await start(dataDir, {});
  const [facts] = await query(
    first.url,
    `select current_database() as database, current_setting('server_encoding') as encoding,
       current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
       current_setting('listen_addresses') as addresses, current_setting('unix_socket_directories') as sockets,
       current_setting('timezone') as zone, datcollate as collation from pg_database where datname = 'analytics'`,
  );
  expect(facts).toEqual({
    database: "analytics",
    encoding: "UTF8",
    fsync: "on",
    commit: "on",
    addresses: "127.0.0.1",
    sockets: "",
    zone: "UTC",
    collation: "C",
  });
  await expect(query(first.url.replace(/:[^:@]+@/, ":wrong@"), "select 1")).rejects.toMatchObject({
    code: "28P01",
  });
  expect((await stat(join(dataDir, "postgres-password"))).mode & 0o777).toBe(0o600);
  await query(first.url, "create table kept as select 42 as answer");
  expect(await findEmbeddedPostgres(dataDir)).toBe(first.url);

  await Promise.all([first.stop(), first.stop()]);
  await first.stop();
  expect(await alive(first.pid)).toBe(false);
  expect(await findEmbeddedPostgres(dataDir)).toBeUndefined();

  const second = await start(dataDir);
  expect(new URL(second.url).password).toBe(new URL(first.url).password);
  expect(await query(second.url, "select answer from kept")).toEqual([{ answer: 42 }]);
  await second.stop();
});

test("a server whose parent was killed is replaced, with its data", async () => {
  const dataDir = await temporaryFolder();
  const orphan = await serverProcess(compiled.dist, dataDir);
  expect(orphan.answer.error).toBeUndefined();
  await query(orphan.answer.url, "create table kept as select 42 as answer");
  orphan.child.kill("SIGKILL");
  await once(orphan.child, "exit");
  expect(await alive(orphan.answer.pid)).toBe(true);
  expect(await findEmbeddedPostgres(dataDir)).toBe(orphan.answer.url);

  const server = await start(dataDir);
  expect(await alive(orphan.answer.pid)).toBe(false);
  expect(await query(server.url, "select answer from kept")).toEqual([{ answer: 42 }]);
  await server.stop();
});

test("a server that is killed says so, and the next start recovers", async () => {
  const dataDir = await temporaryFolder();
  const killed = await start(dataDir);
  await query(killed.url, "create table kept as select 42 as answer");
  process.kill(killed.pid, "SIGKILL");
  expect(await killed.exited).toContain("SIGKILL");
  await killed.stop();

  const server = await startEmbeddedPostgres({ dataDir, log: silent, settings: fast, port: killed.port });
  running.push(server);
  expect(server.port).toBe(killed.port);
  expect(await query(server.url, "select answer from kept")).toEqual([{ answer: 42 }]);
  await server.stop();
});

test.each([
  ["ourselves", () => process.pid],
  ["another program", () => process.ppid],
  ["nobody", () => 2 ** 22 + 1],
])("a left-over pid file that names %s does not block", async (_, pid) => {
  const dataDir = await temporaryFolder();
  await (await start(dataDir)).stop();
  const file = join(dataDir, "postgres/postmaster.pid");
  await writeFile(file, `${pid()}\n${dataDir}/postgres\n1\n5432\n\n127.0.0.1\n0 0\nready   \n`);
  expect(await findEmbeddedPostgres(dataDir)).toBeUndefined();

  const server = await start(dataDir);
  expect(await query(server.url, "select 1 as one")).toEqual([{ one: 1 }]);
  await server.stop();
});

test("a half-made cluster is made anew, and what was not ours is set aside, not deleted", async () => {
  const dataDir = await temporaryFolder();
  await mkdir(join(dataDir, "postgres.init-dead/base"), { recursive: true });
  await mkdir(join(dataDir, "postgres"));
  await writeFile(join(dataDir, "postgres/PG_VERSION"), "18\n");

  const server = await start(dataDir);
  expect(await query(server.url, "select 1 as one")).toEqual([{ one: 1 }]);
  const names = await readdir(dataDir);
  expect(names.filter((name) => name.startsWith("postgres.init-"))).toEqual([]);
  const aside = names.find((name) => name.startsWith("postgres.unfinished-"));
  expect(await readdir(join(dataDir, aside ?? ""))).toEqual(["PG_VERSION"]);
  await server.stop();
});

test("a second service on the same data is refused with the pid of the first", async () => {
  const dataDir = await temporaryFolder();
  const holder = await serverProcess(compiled.dist, dataDir);
  await expect(start(dataDir)).rejects.toThrow(`already in use by process ${holder.child.pid}`);
  expect(await query(holder.answer.url, "select 1 as one")).toEqual([{ one: 1 }]);
  await stopProcess(holder);

  const server = await start(dataDir);
  await expect(start(dataDir)).rejects.toThrow(`already in use by process ${process.pid}`);
  await server.stop();
});

test("of services that start at the same moment exactly one or none gets the data", async () => {
  const dataDir = await temporaryFolder();
  await (await start(dataDir)).stop();
  const rivals = await Promise.all([1, 2, 3].map(() => serverProcess(compiled.dist, dataDir)));
  const winners = rivals.filter(({ answer }) => answer.error === undefined);
  expect(winners.length).toBeLessThanOrEqual(1);
  for (const winner of winners) {
    expect(await query(winner.answer.url, "select 1 as one")).toEqual([{ one: 1 }]);
    await stopProcess(winner);
  }
});

test("locks of dead processes, and of those whose pid is somebody else's now, do not count", async () => {
  const dataDir = await temporaryFolder();
  for (const name of [`postgres.lock-${2 ** 22 + 1}-1`, `postgres.lock-${process.ppid}-1`])
    await writeFile(join(dataDir, name), "");
  const server = await start(dataDir);
  const locks = () => readdir(dataDir).then((names) => names.filter((name) => name.includes("lock")));
  expect(await locks()).toHaveLength(1);
  await server.stop();
  expect(await locks()).toEqual([]);
});

test("a start that fails says what the server wrote, and leaves nothing running or locked", async () => {
  const dataDir = await temporaryFolder();
  const failed = start(dataDir, { ...fast, shared_buffers: "plenty" });
  await expect(failed).rejects.toThrow(EmbeddedPostgresError);
  await expect(failed).rejects.toThrow(/invalid value for parameter "shared_buffers": "plenty"/);
  await (await start(dataDir)).stop();
});

test("a large server log is rotated at the next start", async () => {
  const dataDir = await temporaryFolder();
  await writeFile(join(dataDir, "postgres.log"), "old ".repeat(2_000_000));
  const server = await start(dataDir);
  await until(async () =>
    (await readFile(join(dataDir, "postgres.log"), "utf8")).includes("ready to accept"),
  );
  expect((await stat(join(dataDir, "postgres.log"))).size).toBeLessThan(10_000);
  expect((await stat(join(dataDir, "postgres.log.1"))).size).toBe(8_000_000);
  await server.stop();
});
