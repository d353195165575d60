import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { MAX_STREAMS } from "../src/api/routes/stream-export.js";
import { loadConfig } from "../src/config.js";
import { QUEUE_POOL_SIZE } from "../src/context.js";
import { SETTINGS } from "../src/embedded/server.js";
import { copyPoolSize } from "../src/workers/start-workers.js";

interface Service {
  command: string[];
  environment: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  image?: string;
  stop_grace_period?: string;
  volumes?: string[];
}

const project = resolve(import.meta.dirname, "..");
const read = (file: string) => readFileSync(resolve(project, file), "utf8");
const compose = parse(read("docker-compose.yml"), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};
const { services } = compose;
const own = ["api", "worker", "scheduler", "migrate"] as const;

/** Compose's `${NAME:-default}` and `${NAME:?message}`, the latter with a value that is acceptable. */
const filledIn = (value: string) =>
  value.replaceAll(/\$\{(\w+):-([^}]*)\}/g, "$2").replaceAll(/\$\{\w+:\?[^}]*\}/g, "0123456789abcdef");

/** Ends with the linter's words when it finds anything. */
const lint = (program: string, ...options: string[]) =>
  promisify(execFile)(process.execPath, [resolve(project, "node_modules", program), ...options], {
    cwd: project,
  }).catch((error: { stdout: string; stderr: string }) =>
    Promise.reject(new Error(error.stdout + error.stderr)),
  );

it("docker-compose.yml follows the schema of Compose files and its linter's rules", async () => {
  await lint("dclint/bin/dclint.cjs", "--max-warnings", "0", "docker-compose.yml");
});

it("the Dockerfile has nothing that its linter would warn of", async () => {
  const { stdout } = await lint("dockerfile-utils/bin/dockerfile-utils", "lint", "Dockerfile");
  expect(stdout.trim()).toBe("");
});

it("what the Dockerfile copies exists and is not kept out of the build", () => {
  const admitted = read(".dockerignore")
    .split("\n")
    .filter((line) => line.startsWith("!"))
    .map((line) => line.slice(1));
  const copied = [...read("Dockerfile").matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, files]) =>
    files!.split(" "),
  );
  expect(copied.map((file) => file.replace("./", "")).sort()).toEqual(admitted.sort());
  expect(admitted.filter((file) => !existsSync(resolve(project, file)))).toEqual([]);
});

it("the image runs as an unprivileged user", () => {
  const [, user] = read("Dockerfile").match(/^USER (\d+):\d+$/m) ?? [];
  expect(Number(user)).toBeGreaterThan(0);
});

it("the containers run what the Procfile and `npm start` run", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const procfile = parse(read("Procfile")) as Record<string, string>;
  for (const name of ["api", "worker", "scheduler"] as const) {
    expect(services[name]!.command.join(" ")).toBe(procfile[name]);
    expect(scripts[name]).toBe(procfile[name]);
  }
  expect(services.migrate!.command.join(" ")).toBe(scripts.migrate);
  expect(scripts.start).toContain(JSON.parse(read("Dockerfile").match(/^CMD (.*)$/m)![1]!).join(" "));
});

it.each(own)("the settings of %s are a complete configuration for production", (name) => {
  const image = Object.fromEntries(
    read("Dockerfile")
      .match(/^ENV (.*)$/m)![1]!
      .split(" ")
      .map((setting) => setting.split("=") as [string, string]),
  );
  const given = Object.entries(services[name]!.environment).map(([key, value]) => [key, filledIn(value)]);
  const config = loadConfig({ ...image, ...Object.fromEntries(given) });
  expect(config).toMatchObject({
    production: true,
    dataDir: "/data",
    database: { url: "postgres://analytics:0123456789abcdef@postgres:5432/analytics" },
    redis: { url: "redis://redis:6379" },
    workers: { processes: 4 },
  });
  expect(services[name]!.volumes).toEqual(["files:/data"]);
  expect(Number.parseInt(services[name]!.stop_grace_period!, 10) * 1000).toBeGreaterThan(
    config.shutdownGraceMs + 10_000,
  );
});

it("nothing starts before its database, its queue and the migration are there", () => {
  const healthy = { condition: "service_healthy" };
  for (const name of ["api", "worker", "scheduler"] as const)
    expect(services[name]!.depends_on).toEqual({
      migrate: { condition: "service_completed_successfully" },
      postgres: healthy,
      redis: healthy,
    });
  expect(services.migrate!.depends_on).toEqual({ postgres: healthy });
  for (const name of ["api", "postgres", "redis"]) expect(services[name]!.healthcheck).toBeDefined();
});

it("Redis keeps its jobs: append-only file, and no eviction", () => {
  expect(services.redis!.image).toMatch(/redis:7$/);
  const command = services.redis!.command.join(" ");
  expect(command).toContain("--appendonly yes");
  expect(command).toContain("--maxmemory-policy noeviction");
});

it("the embedded PostgreSQL admits as many connections as `npm start` may open, which the docs say", () => {
  const config = loadConfig({ NODE_ENV: "test" });
  const { poolSize } = config.database;
  const api = poolSize + MAX_STREAMS + 1 + QUEUE_POOL_SIZE;
  const worker = poolSize + copyPoolSize(config) + 2 * QUEUE_POOL_SIZE;
  const { http, workers } = config;
  const most = http.processes * api + workers.processes * worker + poolSize + QUEUE_POOL_SIZE;
  const docs = read("docs/operations.md");
  expect(docs).toContain(`stays within ${most},`);
  const { max_connections } = SETTINGS;
  expect(docs).toContain(`the embedded one has ${max_connections})`);
  const migrating = 3;
  // An API process that retires is still there when its successor is.
  expect(Number(max_connections)).toBeGreaterThan(most + api + migrating);
});

it("PostgreSQL is the oldest supported one and admits as many connections as the processes may open", () => {
  expect(services.postgres!.image).toMatch(/postgres:15$/);
  const [, most] = services.postgres!.command.join(" ").match(/max_connections=(\d+)/)!;
  const [, needed] = read("docs/operations.md").match(/and with Redis within (\d+)/)!;
  expect(Number(most)).toBeGreaterThan(Number(needed));
});
