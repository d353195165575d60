import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { afterAll } from "vitest";
import { processIdentity } from "../../src/embedded/process-identity.js";
import { createLog } from "../../src/log.js";

export const silent = createLog({ level: "error", process: "test", silent: true });
/** These tests are about starting and stopping, not about a power cut. */
export const fast = { fsync: "off" };

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A folder that others may walk through, removed after the file's tests. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "embedded-"));
  folders.push(folder);
  await chmod(folder, 0o755);
  return folder;
}

export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    const { rows } = await client.query(sql);
    return rows;
  } finally {
    await client.end();
  }
}

export interface ServerProcess {
  child: ChildProcess;
  answer: { url: string; pid: number } & { error?: string };
}

/** Starts the embedded server in another process and waits for what it has to say. */
export async function serverProcess(
  dist: string,
  dataDir: string,
  user: { uid?: number; gid?: number } = {},
): Promise<ServerProcess> {
  const script = join(import.meta.dirname, "fixtures/run-server.mjs");
  const child = fork(script, [join(dist, "embedded/postgres.js"), dataDir], { ...user, execArgv: [] });
  const [answer] = await once(child, "message");
  return { child, answer };
}

export async function stopProcess({ child }: ServerProcess): Promise<void> {
  const exit = once(child, "exit");
  child.send("stop");
  await exit;
}

/** Zombies do not count: nobody may be there to reap an orphan. */
export const alive = async (pid: number): Promise<boolean> => (await processIdentity(pid)) !== undefined;

/** Waits for a condition that nothing announces. */
export async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`still not true after ${timeoutMs} ms: ${condition}`);
    await delay(20);
  }
}
