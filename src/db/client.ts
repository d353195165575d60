import type { Socket } from "node:net";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { cutWhenDead } from "./dead-connection.js";
import { SILENT_CODE } from "./errors.js";
import { preparedName } from "./prepared.js";
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
  /** Server-side bound on waiting for a lock; none unless given. */
  lockTimeoutMs?: number;
  /** How long a caller waits for a free connection or a connect before it gets an error. */
  acquireTimeoutMs?: number;
  /**
   * A connection on which nothing moves for so long is cut: the only bound that holds when the server is frozen or the
   * network swallows everything. More than the statement's own bound; none unless given.
   */
  silenceTimeoutMs?: number;
  /** Sent as start-up settings, for example `search_path`. */
  settings?: Record<string, string>;
}

const ACQUIRE_TIMEOUT_MS = 5_000;
/** A process that stops in the middle of a transaction must not keep its locks. */
const IDLE_IN_TRANSACTION_MS = 60_000;
/** Then the kernel asks an idle connection's other end, every second, and gives it up after ten. */
const KEEP_ALIVE_AFTER_MS = 10_000;

/** A pool of connections in UTC. Opens nothing until its first query. An idle connection's error is not a crash. */
export function createPool(options: PoolOptions, onError: (error: Error) => void): pg.Pool {
  const settings = {
    timezone: "UTC",
    statement_timeout: String(options.statementTimeoutMs),
    lock_timeout: String(options.lockTimeoutMs ?? 0),
    idle_in_transaction_session_timeout: String(IDLE_IN_TRANSACTION_MS),
    // A process that is gone with its machine must not keep its place for two hours either, as it would by default.
    tcp_keepalives_idle: "30",
    tcp_keepalives_interval: "10",
    ...options.settings,
  };
  const config: pg.ClientConfig = {
    connectionString: options.url,
    application_name: options.name,
    connectionTimeoutMillis: options.acquireTimeoutMs ?? ACQUIRE_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
    types,
    options: Object.entries(settings)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(" "),
  };
  const pool = new pg.Pool({ ...config, max: options.size });
  pool.on("error", onError);
  // The pool listens to idle connections only. One that breaks while somebody uses it fails its queries; without a
  // listener of its own it would end the process as well.
  pool.on("connect", (client) => {
    client.on("error", () => {});
    keepPrepared(client);
    cutWhenDead(client, config);
    if (options.silenceTimeoutMs) cutWhenSilent(client, options.silenceTimeoutMs);
  });
  return pool;
}

/** The query builder has no names for statements: those that are to be kept get theirs here. */
function keepPrepared(client: pg.PoolClient): void {
  const query = client.query.bind(client) as (...given: unknown[]) => unknown;
  const named = (text: unknown, ...rest: unknown[]) => {
    const name = typeof text === "string" ? preparedName(text) : undefined;
    return name === undefined ? query(text, ...rest) : query({ name, text }, ...rest);
  };
  client.query = named as typeof client.query;
}

/** The driver's own `query_timeout` would give the connection, with its query still open, back to the pool. */
function cutWhenSilent(client: pg.PoolClient, timeoutMs: number): void {
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  stream.setTimeout(timeoutMs, () => {
    const error = new Error(`the database was silent for ${timeoutMs} ms`);
    stream.destroy(Object.assign(error, { code: SILENT_CODE }));
  });
}

export function createDb(pool: pg.Pool): Db {
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}
