import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import type { Database } from "./schema.js";

export type Db = Kysely<Database>;

const INT8_OID = 20;

/** Counts and sequences stay below 2^53, so int8 is a number; times come as Date. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    oid === INT8_OID && format !== "binary"
      ? (text: string) => Number(text)
      : pg.types.getTypeParser(oid, format as "text")) as typeof pg.types.getTypeParser,
};

export interface PoolOptions {
  url: string;
  /** Shown in pg_stat_activity. */
  name: string;
  size: number;
  /** Server-side bound on one statement; 0 = none. */
  statementTimeoutMs: number;
  /** Sent as start-up settings, for example `search_path`. */
  settings?: Record<string, string>;
}

/** How long a caller waits for a free connection or a connect before it gets an error. */
const CONNECT_TIMEOUT_MS = 5_000;

/** A pool of connections in UTC. Opens nothing until its first query. An idle connection's error is not a crash. */
export function createPool(options: PoolOptions, onError: (error: Error) => void): pg.Pool {
  const settings = {
    timezone: "UTC",
    statement_timeout: String(options.statementTimeoutMs),
    ...options.settings,
  };
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: options.name,
    max: options.size,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    types,
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(" "),
  });
  pool.on("error", onError);
  // The pool listens to idle connections only. One that breaks while somebody uses it fails its queries; without a
  // listener of its own it would end the process as well.
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

export function createDb(pool: pg.Pool): Db {
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}
