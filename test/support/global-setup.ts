import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startEmbeddedPostgres } from "../../src/embedded/postgres.js";
import { createLog } from "../../src/log.js";

declare module "vitest" {
  export interface ProvidedContext {
    postgresUrl: string;
  }
}

/**
 * One PostgreSQL server of its own for the whole suite, on a free port; every test file makes its own database in it.
 * `TEST_DATABASE_URL` (a superuser's) runs the suite on another server, for example the oldest version supported.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.TEST_DATABASE_URL;
  if (given) {
    project.provide("postgresUrl", given);
    return async () => {};
  }
  const dataDir = await mkdtemp(join(tmpdir(), "analytics-test-"));
  const server = await startEmbeddedPostgres({
    dataDir,
    log: createLog({ level: "error", process: "test" }),
    settings: { fsync: "off", max_connections: "300" },
  });
  project.provide("postgresUrl", server.url);
  return async () => {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
}
