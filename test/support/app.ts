import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Route } from "../../src/api/route.js";
import { apiRoutes } from "../../src/api/routes/index.js";
import { startServer } from "../../src/api/server.js";
import { loadConfig } from "../../src/config.js";
import { type Context, openContext } from "../../src/context.js";
import { createDb, createPool } from "../../src/db/client.js";
import { migrateDatabase } from "../../src/db/migrate.js";
import { migrateQueues } from "../../src/jobs/queue.js";
import { createLog } from "../../src/log.js";
import { createTestDatabase } from "./postgres.js";

/** No rate limits. */
export const testConfigFolder = join(import.meta.dirname, "config");

export interface TestApp extends AsyncDisposable {
  url: string;
  context: Context;
  /** The bootstrap key: admin of all accounts. */
  adminKey: string;
  databaseUrl: string;
  drain(): Promise<void>;
  /** Stops the server, closes the context and drops the database. */
  close(): Promise<void>;
}

export interface TestAppOptions {
  /** Environment variables on top of the tests' own. */
  env?: Record<string, string>;
  /** Instead of the routes that are shipped. */
  routes?: (context: Context) => readonly Route[];
  now?: () => Date;
  /** Uses this database, already migrated, and leaves it alone: a second process of the same installation. */
  databaseUrl?: string;
  onWornOut?: () => void;
  /** Instead of the 120 s after which a silent connection is cut. */
  silenceTimeoutMs?: number;
}

/** A real server on a free port with a database of its own, its queues in the same database. */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const database = options.databaseUrl ? undefined : await createTestDatabase();
  const databaseUrl = options.databaseUrl ?? database!.url;
  if (database) await migrate(databaseUrl);
  const adminKey = options.env?.API_KEY ?? randomBytes(24).toString("base64url");
  const config = loadConfig({
    NODE_ENV: "test",
    CONFIG_DIR: testConfigFolder,
    DATABASE_URL: databaseUrl,
    DATABASE_POOL_SIZE: "5",
    API_KEY: adminKey,
    HOST: "127.0.0.1",
    PORT: "0",
    SHUTDOWN_GRACE_MS: "2000",
    ...options.env,
  });
  const log = createLog({ level: "error", process: "test", silent: true });
  const opened = await openContext(config, { process: "api", log });
  const context: Context = options.now ? { ...opened, now: options.now } : opened;
  const routes = (options.routes ?? apiRoutes)(context);
  const server = await startServer(context, routes, options);
  const close = async () => {
    await server.drain();
    await context[Symbol.asyncDispose]();
    await database?.drop();
  };
  return {
    url: server.url,
    context,
    adminKey,
    databaseUrl,
    drain: () => server.drain(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function migrate(url: string): Promise<void> {
  const pool = createPool({ url, name: "test migrate", size: 2, statementTimeoutMs: 0 }, () => {});
  try {
    await migrateDatabase(createDb(pool), new Date());
  } finally {
    await pool.end();
  }
  await migrateQueues(url);
}

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  /** The body as JSON; undefined when it is none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json: any;
}

export interface CallOptions {
  key?: string;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  body?: unknown;
  raw?: string | Uint8Array;
}

/** One request as a client would send it; never follows a redirect. */
export async function call(
  url: string,
  method: string,
  path: string,
  options: CallOptions = {},
): Promise<Reply> {
  const headers: Record<string, string> = { ...options.headers };
  if (options.key !== undefined) headers.authorization = `Bearer ${options.key}`;
  const body = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  if (options.body !== undefined) headers["content-type"] ??= "application/json";
  const response = await fetch(url + path, {
    method,
    headers,
    redirect: "manual",
    ...(body === undefined ? {} : { body: body as string }),
  });
  const text = await response.text();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, headers: response.headers, text, json };
}
