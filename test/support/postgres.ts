import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import { createDb, createPool, type Db } from "../../src/db/client.js";
import { createLog } from "../../src/log.js";
import { migrate } from "../../src/migrate.js";

export const silentLog = createLog({ level: "error", process: "test", silent: true });

/** An empty database in the suite's server. */
export async function createTestDatabase(): Promise<{ url: string; drop(): Promise<void> }> {
  const server = inject("postgresUrl");
  const name = `test_${randomBytes(6).toString("hex")}`;
  const run = async (text: string) => {
    const client = new pg.Client({ connectionString: server });
    await client.connect();
    await client.query(text).finally(() => client.end());
  };
  await run(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`drop database ${name} with (force)`) };
}

export interface TestDb {
  url: string;
  pool: pg.Pool;
  db: Db;
  close(): Promise<void>;
}

/** A migrated database with a pool on it. */
export async function openTestDb(): Promise<TestDb> {
  const { url, drop } = await createTestDatabase();
  await migrate(url, silentLog);
  const pool = createPool({ url, name: "test", size: 8, statementTimeoutMs: 0 }, () => {});
  return {
    url,
    pool,
    db: createDb(pool),
    async close() {
      await pool.end();
      await drop();
    },
  };
}
