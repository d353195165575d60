import winston from "winston";

export type Log = winston.Logger;

/** More causes than this are a ring, or help nobody. */
const MAX_CAUSES = 8;

/** Error objects as plain data, causes included, so that a JSON line holds all of it. */
function describeError(value: unknown, causes = MAX_CAUSES): unknown {
  if (!(value instanceof Error)) return value;
  const { code } = value as { code?: unknown };
  return {
    name: value.name,
    message: value.message,
    ...(code === undefined ? {} : { code }),
    stack: value.stack,
    ...(value.cause === undefined || causes === 0 ? {} : { cause: describeError(value.cause, causes - 1) }),
  };
}

const errorsAsData = winston.format((info) => {
  for (const [key, value] of Object.entries(info))
    if (value instanceof Error) info[key] = describeError(value);
  return info;
});

const SELDOM_MS = 10_000;

/**
 * For what may happen a thousand times a second while something is away: one warning per message and interval, with how
 * many were kept back since the last one.
 */
export function seldomWarnings(): (log: Log, message: string, fields: object) => void {
  const lines = new Map<string, { nextAt: number; kept: number }>();
  return (log, message, fields) => {
    const now = performance.now();
    const line = lines.get(message) ?? { nextAt: 0, kept: 0 };
    lines.set(message, line);
    if (now < line.nextAt) {
      line.kept += 1;
      return;
    }
    log.warn(message, { ...fields, ...(line.kept > 0 ? { repeated: line.kept } : {}) });
    line.nextAt = now + SELDOM_MS;
    line.kept = 0;
  };
}

/** One JSON object a line on stdout: `time`, `level`, `message`, `process` and whatever ids the caller adds. */
export function createLog(options: { level: string; process: string; silent?: boolean }): Log {
  return winston.createLogger({
    level: options.level.toLowerCase(),
    silent: options.silent ?? false,
    defaultMeta: { process: options.process, pid: process.pid },
    format: winston.format.combine(
      winston.format.timestamp({ alias: "time" }),
      winston.format((info) => {
        delete (info as Record<string, unknown>).timestamp;
        return info;
      })(),
      errorsAsData(),
      winston.format.json(),
    ),
    transports: [new winston.transports.Console({ stderrLevels: [] })],
  });
}
