import winston from "winston";

export type Log = winston.Logger;

/** Error objects as plain data, cause included, so that a JSON line holds all of it. */
function describeError(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const { code } = value as { code?: unknown };
  return {
    name: value.name,
    message: value.message,
    ...(code === undefined ? {} : { code }),
    stack: value.stack,
    ...(value.cause === undefined ? {} : { cause: describeError(value.cause) }),
  };
}

const errorsAsData = winston.format((info) => {
  for (const [key, value] of Object.entries(info))
    if (value instanceof Error) info[key] = describeError(value);
  return info;
});

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
