import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Compiled, compile } from "../support/compile.js";

/** The real supervisor over stand-ins for the processes that it runs. */
export async function compileService(): Promise<Compiled> {
  const compiled = await compile(["start.ts"]);
  const { dist } = compiled;
  const fixtures = join(import.meta.dirname, "fixtures/service");
  await cp(fixtures, join(dist, "fixtures"), { recursive: true });
  for (const folder of ["api", "workers", "db"]) await mkdir(join(dist, folder), { recursive: true });
  const standIns = { api: "api/main", worker: "workers/main", scheduler: "workers/scheduler" };
  for (const [name, file] of Object.entries(standIns))
    await writeFile(join(dist, `${file}.js`), `import "../fixtures/${name}.mjs";\n`);
  await copyFile(join(fixtures, "migrate.mjs"), join(dist, "migrate.js"));
  return compiled;
}

export interface Service {
  child: ChildProcess;
  dataDir: string;
  /** What `{type:"ready"}` said; rejects when the supervisor exits before. */
  ready: Promise<{ url: string; apiKey: string; pid: number }>;
  exit: Promise<[number | null, NodeJS.Signals | null]>;
  output(): string;
  errors(): string;
  /** What the stand-ins recorded, a line each, without the pids. */
  events(): Promise<string[]>;
  pids(name: string, event: string): Promise<number[]>;
}

/** Starts the supervisor as the leader of its own process group, as a terminal would. */
export function startService(compiled: Compiled, dataDir: string, env: Record<string, string> = {}): Service {
  const child = spawn(process.execPath, [join(compiled.dist, "start.js")], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env: {
      PATH: process.env.PATH,
      NODE_ENV: "test",
      HOST: "127.0.0.1",
      PORT: "0",
      WORKER_COUNT: "1",
      DATA_DIR: dataDir,
      CONFIG_DIR: dataDir,
      ...env,
    },
  });
  let output = "";
  let errors = "";
  child.stdout?.on("data", (chunk) => (output += chunk));
  child.stderr?.on("data", (chunk) => (errors += chunk));
  const exit = once(child, "close") as Service["exit"];
  const ready = Promise.race([
    once(child, "message").then(([message]) => message),
    exit.then(() => Promise.reject(new Error(`exited before it was ready:\n${output}\n${errors}`))),
  ]);
  ready.catch(() => {});
  const lines = async () =>
    (await readFile(join(dataDir, "events"), "utf8").catch(() => "")).split("\n").filter(Boolean);
  return {
    child,
    dataDir,
    ready,
    exit,
    output: () => output,
    errors: () => errors,
    events: async () => (await lines()).map((line) => line.replace(/ \d+$/, "")),
    pids: async (name, event) =>
      (await lines())
        .filter((line) => line.startsWith(`${name} ${event}`))
        .map((line) => Number(line.split(" ").at(-1))),
  };
}

export async function dataFolder(): Promise<{ dataDir: string; remove: () => Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), "service-"));
  return { dataDir, remove: () => rm(dataDir, { recursive: true, force: true }) };
}

export async function getJson(url: string): Promise<Record<string, unknown>> {
  return (await fetch(url)).json() as Promise<Record<string, unknown>>;
}
