import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;
if (!hasRedis) console.warn("redis-server is not installed: what needs Redis is skipped");

/** The queue stores that this machine can test. */
export const queueStores: readonly ("postgres" | "redis")[] = [
  "postgres",
  ...(hasRedis ? (["redis"] as const) : []),
];

export interface TestRedis {
  url: string;
  /** Ends the server as a crash would; what it has on disk stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port and folder. */
  restart(): Promise<void>;
  /** Keeps its connections open and answers nothing, until `thaw`. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

/**
 * A Redis of its own on a free port. Nothing of it is on disk unless `settings` say so: names and values as in
 * `redis.conf`, for example `{ appendonly: "yes" }`.
 */
export async function startRedis(settings: Record<string, string> = {}): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), "redis-test-"));
  const port = await freePort();
  const options = {
    port: String(port),
    bind: "127.0.0.1",
    save: "",
    appendonly: "no",
    dir: folder,
    ...settings,
  };
  const run = async () => {
    const server = spawn(
      "redis-server",
      Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]),
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    await untilReady(server);
    return server;
  };
  let server = await run();
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, "exit");
    server.kill("SIGKILL");
    await exited;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    kill,
    freeze: () => void server.kill("SIGSTOP"),
    thaw: () => void server.kill("SIGCONT"),
    async restart() {
      server = await run();
    },
    async stop() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}

async function untilReady(server: ChildProcess): Promise<void> {
  for await (const line of createInterface({ input: server.stdout! }))
    if (/ready to accept connections/i.test(line)) {
      // What it still has to say must not fill the pipe.
      server.stdout!.resume();
      return;
    }
  throw new Error("redis-server ended before it was ready");
}
