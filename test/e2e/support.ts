import { type ChildProcess, execFile, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Compiled } from "../support/compile.js";

export interface Ready {
  url: string;
  apiKey: string;
}

export interface Process {
  child: ChildProcess;
  pid: number;
  /** What it said once it was up; rejects, with its output, when it ends before. */
  ready: Promise<Ready>;
  /** Exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>;
  output(): string;
}

/** Starts a program, by its place in the compiled tree or its whole path, blind to the settings of whoever runs the tests. */
export function start(compiled: Compiled, file: string, env: Record<string, string>): Process {
  const child = fork(resolve(compiled.dist, file), [], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env: { PATH: process.env.PATH, NODE_ENV: "test", LOG_LEVEL: "warn", ...env },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (output += chunk));
  const ended = once(child, "exit").then(([code, signal]) => code ?? signal);
  const ready = Promise.race([
    once(child, "message").then(([message]) => message as Ready),
    ended.then((how) => Promise.reject(new Error(`${file} ended (${how}) before it was ready:\n${output}`))),
  ]);
  ready.catch(() => {});
  return { child, pid: child.pid!, ready, ended, output: () => output };
}

/** Ends what is still running, or frozen: asks first, so that a supervisor can take its children along. */
export async function stopAll(processes: readonly Process[]): Promise<void> {
  for (const { child } of processes) {
    child.kill("SIGTERM");
    child.kill("SIGCONT");
  }
  await Promise.all(processes.map(({ ended }) => ended));
}

export async function temporaryFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "e2e-"));
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}

/** Looks again and again until `look` finds something; its time-out says what was looked for. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  { withinMs = 30_000, everyMs = 50 } = {},
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await delay(everyMs);
  }
}

/** The program files and ids of a process's children that have not ended. */
export async function childrenOf(pid: number): Promise<{ pid: number; command: string }[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,stat=,args="]);
  return stdout.split("\n").flatMap((line) => {
    const [, child, parent, state, command] = line.match(/^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/) ?? [];
    if (Number(parent) !== pid || state?.startsWith("Z")) return [];
    return [{ pid: Number(child), command: command! }];
  });
}

export interface Run {
  id: string;
  status: string;
  attempt: number;
  progress: { rows: number; total_rows: number | null };
  artifact: { bytes: number; rows: number; sha256: string } | null;
  links: { self: string; download?: string };
}

export type Api = ReturnType<typeof apiOf>;

/** The calls that the tests make, each with an answer that was not an error. */
export function apiOf({ url, apiKey }: Ready) {
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  const json = async <T>(method: string, path: string, body?: unknown): Promise<T> =>
    (await (await call(method, path, body)).json()) as T;
  return {
    json,
    run: (id: string) => json<Run>("GET", `/analytics/reports/${id}`),
    /** Once the run has succeeded. */
    async finished(id: string, withinMs?: number, what: "reports" | "exports" = "reports"): Promise<Run> {
      const look = async () => {
        const run = await json<Run>("GET", `/analytics/${what}/${id}`);
        if (["failed", "cancelled"].includes(run.status)) throw new Error(JSON.stringify(run));
        return run.status === "succeeded" && run;
      };
      return until(`${id} is done`, look, withinMs === undefined ? {} : { withinMs });
    },
    /** What a download says, whatever that is. */
    async download(
      id: string,
      what: "reports" | "exports" = "reports",
    ): Promise<{ status: number; bytes: number; sha256: string }> {
      const response = await fetch(`${url}/analytics/${what}/${id}/download`, {
        headers: { authorization: `Bearer ${apiKey}`, "accept-encoding": "identity" },
      });
      const hash = createHash("sha256");
      let bytes = 0;
      for await (const chunk of response.body!) {
        hash.update(chunk);
        bytes += chunk.length;
      }
      return { status: response.status, bytes, sha256: hash.digest("hex") };
    },
  };
}
