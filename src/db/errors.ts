import { Unavailable } from "../errors.js";

/** Faults of the connection itself, as Node names them. */
const NETWORK_CODES: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
]);

/** The same where a connection was to be opened; elsewhere they speak of a file. No socket there, or no descriptor left. */
const CONNECT_CODES: ReadonlySet<string> = new Set(["ENOENT", "EMFILE", "ENFILE"]);

/** 57P01-57P03: shutting down, crashed or starting; 25006: it became a replica; 53300: no connection is left. */
const AWAY_STATES: ReadonlySet<string> = new Set(["57P01", "57P02", "57P03", "25006", "53300"]);

/** Of the error that a connection is cut with when nothing moved on it for too long. */
export const SILENT_CODE = "DATABASE_SILENT";

/** Statement or lock time-out, serialization failure, deadlock: the same request may well succeed later. */
const BUSY_STATES: ReadonlySet<string> = new Set(["57014", "55P03", "40001", "40P01"]);

/** The driver and its pool give these no code. */
const DRIVER_MESSAGES: readonly string[] = [
  "timeout exceeded when trying to connect",
  "Connection terminated",
  "Client has encountered a connection error and is not queryable",
  "Cannot use a pool after calling end on the pool",
];

const RETRY = { "retry-after": "2" };

/**
 * The `Unavailable` that a driver error stands for: database away, pool exhausted (`database_unavailable`), or a
 * statement that took too long or lost a conflict (`database_busy`). Undefined for everything else, which is a bug.
 */
export function databaseUnavailable(error: unknown): Unavailable | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as { code?: unknown };
  if (typeof code === "string" && BUSY_STATES.has(code))
    return new Unavailable("database_busy", "The database did not answer in time; try again shortly.", {
      cause: error,
      headers: RETRY,
    });
  // Class 53: out of disk, memory or another resource.
  if (isDatabaseAway(error) || code === SILENT_CODE || (typeof code === "string" && /^53...$/.test(code)))
    return new Unavailable("database_unavailable", "The database cannot be reached; try again shortly.", {
      cause: error,
      headers: RETRY,
    });
  return undefined;
}

/**
 * Whether the database could not be reached or went away: nothing is wrong with the work itself, however often it is
 * tried. What the same work may meet again on a healthy server (a full disk, a silent statement) is not that.
 */
export function isDatabaseAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  if (typeof code !== "string") return DRIVER_MESSAGES.some((known) => error.message.startsWith(known));
  if (CONNECT_CODES.has(code)) return syscall === "connect";
  return NETWORK_CODES.has(code) || AWAY_STATES.has(code) || /^08...$/.test(code);
}

/** A lock was not to be had within `lock_timeout`. */
export const isLockTimeout = (error: unknown): boolean =>
  (error as { code?: unknown } | null)?.code === "55P03";

/** SQLSTATE of a row that names another row which does not exist. */
export const isForeignKeyViolation = (error: unknown): boolean =>
  (error as { code?: unknown } | null)?.code === "23503";
