import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import { z } from "zod";

const seconds = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const secretList = z
  .string()
  .transform((text) =>
    text
      .split(",")
      .map((secret) => secret.trim())
      .filter(Boolean),
  )
  .pipe(z.array(z.string().min(8, "each secret needs at least 8 characters")));

const KEY_BYTES = 32;
const namedKeys = z.string().transform((text, context) => {
  const keys = text
    .split(",")
    .map((entry) => entry.trim())
    .filter(Boolean)
    .map((entry) => {
      const [, id, key] = /^([A-Za-z0-9_-]{1,32}):(.*)$/.exec(entry) ?? [];
      return { id: id ?? "", key: key ?? "" };
    });
  const issue = (message: string) => context.addIssue({ code: "custom", message });
  keys.forEach(({ id, key }, index) => {
    if (id === "" || Buffer.from(key, "base64").length !== KEY_BYTES)
      issue(
        `entry ${index + 1} is not id:key, an id of at most 32 letters, digits, - or _, and ${KEY_BYTES} bytes in base64`,
      );
  });
  const ids = keys.map(({ id }) => id).filter(Boolean);
  if (new Set(ids).size !== ids.length) issue("two keys have the same id");
  return keys;
});
const flag = z.enum(["true", "false"]).transform((text) => text === "true");
/** Items between commas. */
const list = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .string()
    .transform((text) =>
      text
        .split(",")
        .map((part) => part.trim())
        .filter(Boolean),
    )
    .pipe(z.array(item));

/** Every environment variable the service reads. `.env.example` and docs/config.md are generated from this. */
export const environment = z.object({
  NODE_ENV: z
    .enum(["development", "test", "production"])
    .default("development")
    .describe(
      "`production` refuses the defaults that are only for trying it out: embedded database, made-up key.",
    ),
  LOG_LEVEL: z
    .string()
    .transform((level) => level.toLowerCase())
    .pipe(z.enum(["error", "warn", "info", "debug"]))
    .default("info")
    .describe("The least severe lines that are written to stdout, one JSON object each."),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/ })
    .optional()
    .describe(
      "PostgreSQL 15 or newer. Required in production; without it `npm start` brings its own server.",
    ),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/ })
    .optional()
    .describe("Where the job queues live. Required in production; without it they live in the database."),
  API_KEY: z
    .string()
    .min(16, "needs at least 16 characters")
    .max(256)
    .optional()
    .describe(
      "The first admin key. Required in production; without it `npm start` makes one and keeps it in DATA_DIR.",
    ),
  HOST: z.string().min(1).default("0.0.0.0").describe("Address that the API listens on."),
  PORT: count(0, 65_535).default(8080).describe("Port that the API listens on; 0 takes any free one."),
  DATA_DIR: z
    .string()
    .min(1)
    .default(".data")
    .describe(
      "Folder for what has to stay on this machine: embedded database, made API key, finished files.",
    ),
  CONFIG_DIR: z.string().min(1).default("config").describe("Folder of performance.yaml and security.yaml."),
  WORKER_COUNT: count(0, 64).default(4).describe("Worker processes of `npm start`."),
  WORKER_CONCURRENCY: count(1, 64)
    .default(4)
    .describe("Jobs that one worker process runs at a time in each queue."),
  MAX_RUNNING_PER_ACCOUNT: count(1, 10_000)
    .default(16)
    .describe("Runs of each kind that one account may have admitted at a time; an account may have its own."),
  MAX_WAITING_PER_ACCOUNT: count(1, 1_000_000)
    .default(10_000)
    .describe("Runs of each kind that one account may have waiting; an account may have its own."),
  MAX_EXPORT_ROWS: count(0, 1_000_000_000_000)
    .default(0)
    .describe(
      "Rows that one export or message log may be estimated to have, 0 = any; an account may have its own.",
    ),
  DATABASE_POOL_SIZE: count(2, 100)
    .default(10)
    .describe(
      "Database connections of one process at most; queues in the database have a pool of their own.",
    ),
  SHUTDOWN_GRACE_MS: count(0, 900_000)
    .default(20_000)
    .describe("Milliseconds that open requests and running jobs get to finish after SIGTERM."),
  JOB_LOCK_MS: count(1_000, 600_000)
    .default(15_000)
    .describe("Milliseconds after which a job whose worker has gone silent counts as abandoned."),
  JOB_STALLED_CHECK_MS: count(250, 600_000)
    .default(5_000)
    .describe("Milliseconds between two looks for abandoned jobs."),
  FOLD_BATCH_SIZE: count(100, 200_000)
    .default(20_000)
    .describe("Events that one transaction folds into messages and rollups at most."),
  EXPORT_PART_ROWS: count(100, 10_000_000)
    .default(250_000)
    .describe(
      "Rows of a part: an export or list of messages with more is built in several, which workers share and no crash undoes.",
    ),
  EXPORT_PARALLELISM: count(1, 64)
    .default(4)
    .describe("Parts of one file that are built at the same time, at most."),
  TICK_SECONDS: seconds(1, 60)
    .default(2)
    .describe("Seconds between two looks of the scheduler at what is due."),
  ARTIFACT_RETENTION_HOURS: count(1, 24 * 365)
    .default(24 * 7)
    .describe("Hours that a finished file can be downloaded."),
  ARTIFACT_QUOTA_BYTES: count(0, Number.MAX_SAFE_INTEGER)
    .default(0)
    .describe(
      "Bytes that the finished files of one account may have together, where the account has no quota of its own; 0 = no limit.",
    ),
  ARTIFACT_KEYS: namedKeys
    .default([])
    .describe(
      "Keys that files are encrypted with at rest: `id:key` separated by commas, 32 bytes in base64 each. The first one encrypts, the others still decrypt; without one files are stored as they are.",
    ),
  S3_BUCKET: z
    .string()
    .min(3)
    .max(63)
    .optional()
    .describe("Bucket of an S3-compatible store for files. Without it they are in DATA_DIR."),
  S3_PREFIX: z
    .string()
    .max(200)
    .regex(/^[A-Za-z0-9._/-]*$/, "may hold letters, digits and . _ - /")
    .default("")
    .describe("Folder in the bucket, which other installations may share."),
  S3_REGION: z.string().min(1).default("us-east-1").describe("Region of the bucket."),
  S3_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Where the store is, if it is not that of AWS."),
  S3_FORCE_PATH_STYLE: flag
    .default(false)
    .describe("`true`: the bucket stands in the path, not in the host name, as most own stores want it."),
  S3_ACCESS_KEY_ID: z
    .string()
    .min(1)
    .optional()
    .describe("Without it the AWS SDK looks for credentials where it always does."),
  S3_SECRET_ACCESS_KEY: z.string().min(1).optional().describe("Belongs to S3_ACCESS_KEY_ID."),
  S3_REDIRECTS: flag
    .default(true)
    .describe(
      "Whether download links lead on to the store, by URLs that are signed for 5 minutes; `false` where browsers cannot reach it. Encrypted files never do.",
    ),
  PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      "Where users reach this service; download links begin with it. Without it, wherever they were asked for.",
    ),
  WHATSAPP_APP_SECRET: secretList
    .default([])
    .describe("App secrets of Meta, separated by commas; without one every webhook delivery is refused."),
  WHATSAPP_VERIFY_TOKEN: z
    .string()
    .min(8)
    .optional()
    .describe("The text that you gave Meta as the verify token of the webhook."),
  WEBHOOK_ALLOW_HTTP: z
    .stringbool()
    .default(false)
    .describe("Whether webhooks may go to `http://` too, where anybody on the way can read them."),
  WEBHOOK_PORTS: list(z.string().regex(/^\d+$/).transform(Number).pipe(z.number().min(1).max(65_535)))
    .default([443, 8443])
    .describe("Ports that webhooks may go to, separated by commas. Add 80 for `http://`."),
  WEBHOOK_PRIVATE_NETWORKS: list(z.union([z.cidrv4(), z.cidrv6()], "must be a network as 10.1.0.0/16"))
    .default([])
    .describe(
      "Networks (CIDR), separated by commas, that webhooks may go to although they are not public. Name as little as possible.",
    ),
  SMTP_URL: z
    .url({ protocol: /^smtps?$/ })
    .optional()
    .describe(
      "Server that takes the mails, `smtps://user:password@host:465` or `smtp://…:587`; a password needs TLS. Without it there is no mail.",
    ),
  MAIL_FROM: z
    .string()
    .regex(
      /^(?:[^<>@"\p{Cc}]+ <[^\s<>@"]+@[^\s<>@"]+>|[^\s<>@"]+@[^\s<>@"]+)$/u,
      "must be an address, or `Name <address>`",
    )
    .optional()
    .describe("Sender of the mails, an address or `Name <address>`. Required with SMTP_URL."),
  MAIL_ATTACHMENT_MAX_BYTES: count(0, 100 * 1024 * 1024)
    .default(5 * 1024 * 1024)
    .describe("Bytes up to which a file is attached to its mail; a larger one is linked."),
  WAHA_HMAC_KEY: secretList
    .default([])
    .describe(
      "HMAC keys of WAHA's webhooks, separated by commas; without one a delivery needs an API key instead.",
    ),
});

type Environment = z.infer<typeof environment>;

const notYet = (key: string) =>
  z
    .undefined({ error: `${key} does not work yet: remove it until a release note says that it does` })
    .optional();

/** Keys of `config/performance.yaml`. */
export const performanceFile = z.strictObject({
  worker_processes: count(1, 64).default(1).describe("API processes that share one port (`npm start`)."),
  thread_pool: count(1, 128)
    .default(4)
    .describe(
      "Threads of libuv's pool in every process of `npm start`: compression, hashing and file writes run on them.",
    ),
  max_requests: count(0, 1_000_000_000)
    .default(0)
    .describe("Requests after which an API process is replaced by a fresh one. 0 = never."),
  keepalive: seconds(1, 3600)
    .default(65)
    .describe(
      "Seconds an idle connection stays open. Keep it above the idle time of the load balancer in front.",
    ),
  timeout: seconds(1, 3600)
    .default(30)
    .describe("Seconds an ordinary request may take. Streams (NDJSON in, exports out) are exempt."),
  metrics_cache: z
    .strictObject({
      memory_mb: count(0, 65_536)
        .default(64)
        .describe("Megabytes of answers about metrics that each API process remembers. 0 = none."),
      shared: z
        .boolean()
        .default(true)
        .describe("Whether API processes share answers through Redis, where REDIS_URL is set."),
      ttl: seconds(0, 3600)
        .default(60)
        .describe("Seconds after which an answer is computed again, even if nothing changed. 0 = no cache."),
    })
    .prefault({}),
  metrics_stream: z
    .strictObject({
      max_streams: count(1, 10_000)
        .default(5_000)
        .describe("Open `GET /analytics/metrics/stream` of one API process at most."),
      max_streams_per_key: count(1, 10_000).default(1_000).describe("The same for one key."),
    })
    .prefault({}),
  import_max_bytes: count(1, 2 ** 40)
    .default(2 ** 30)
    .describe("Bytes that one file to import may have, inflated."),
});

/** Requests a minute; 0 switches a limit off. */
const rate = (preset: number) => count(0, 1_000_000).default(preset);

/** Keys of `config/security.yaml`. */
export const securityFile = z.strictObject({
  secure_headers: z.boolean().default(true).describe("Security headers on every answer."),
  ssl_enabled: notYet("ssl_enabled"),
  min_tls_version: notYet("min_tls_version"),
  rate_limits: z
    .strictObject({
      default: rate(100).describe("Requests a minute of one key to everything that has no limit of its own."),
      burst: count(1, 1_000_000)
        .default(200)
        .describe("Requests that `default` allows at once. The other limits allow twice their rate."),
      metrics: rate(100).describe(
        "`GET /analytics/metrics`, its streams that are opened, `heatmap`, `flows` and `retention`, a minute and key.",
      ),
      reports: rate(50).describe("Reports, exports, imports and aggregations asked for, a minute and key."),
      export: rate(10).describe("`GET /analytics/export`, a minute and key."),
      health: rate(1000).describe("Health probes, a minute and client address."),
      auth: rate(10).describe("Failed attempts with a key, a minute and client address."),
      window: seconds(60, 86_400)
        .default(600)
        .describe(
          "Seconds that the bucket of an idle caller is remembered, longer if it is not full by then.",
        ),
    })
    .prefault({}),
});

type RateLimits = z.infer<typeof securityFile>["rate_limits"];

/** What is limited together: every class has its own bucket for each key or address. */
export type RateClass = Exclude<keyof RateLimits, "burst" | "window">;

function groupRateLimits({ window, burst, ...rates }: RateLimits) {
  const limits = Object.entries(rates).map(([name, perMinute]) => [
    name,
    { perMinute, burst: name === "default" ? burst : 2 * perMinute },
  ]);
  return {
    windowMs: window * 1000,
    limits: Object.fromEntries(limits) as Record<RateClass, { perMinute: number; burst: number }>,
  };
}

/** Thrown by `loadConfig` with every mistake it found, a line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];
  constructor(problems: string[]) {
    super(
      `The configuration has ${problems.length} problem(s):\n${problems.map((p) => `  - ${p}`).join("\n")}`,
    );
    this.problems = problems;
  }
}

export type Config = ReturnType<typeof group>;

/**
 * Reads the environment (each name also as NAME_FILE, a path whose content is the value) and the two YAML files.
 * Throws one `ConfigError` that lists all mistakes. `env` is a parameter so that tests need no process state.
 */
export function loadConfig(env: Record<string, string | undefined> = process.env): Config {
  const problems: string[] = [];
  const read = <T extends z.ZodType>(schema: T, input: unknown, where: string): z.infer<T> | undefined => {
    const parsed = schema.safeParse(input);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues) {
      const at = [where, issue.path.join(".")].filter(Boolean).join(": ");
      problems.push(`${at}: ${issue.message}`);
    }
    return undefined;
  };

  const given = withFiles(env, problems);
  const values = read(environment, given, "");
  const directory = resolve(given.CONFIG_DIR ?? "config");
  const performance = read(
    performanceFile,
    readYaml(directory, "performance.yaml", problems),
    "performance.yaml",
  );
  const security = read(securityFile, readYaml(directory, "security.yaml", problems), "security.yaml");

  if (given.NODE_ENV === "production") {
    for (const name of ["DATABASE_URL", "REDIS_URL", "API_KEY"] as const)
      if (given[name] === undefined)
        problems.push(
          `${name}: required with NODE_ENV=production (the embedded defaults are for trying it out)`,
        );
  }
  if (
    given.S3_BUCKET === undefined &&
    (given.S3_ENDPOINT !== undefined || given.S3_ACCESS_KEY_ID !== undefined)
  )
    problems.push("S3_BUCKET: required with the other S3_… settings, or files would stay in DATA_DIR");
  if ((given.S3_ACCESS_KEY_ID === undefined) !== (given.S3_SECRET_ACCESS_KEY === undefined))
    problems.push("S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY: set both of them, or neither");
  if ((given.SMTP_URL === undefined) !== (given.MAIL_FROM === undefined))
    problems.push("SMTP_URL and MAIL_FROM: set both or neither");
  if (problems.length > 0 || !values || !performance || !security) throw new ConfigError(problems);
  return deepFreeze(group(values, performance, security));
}

/** The given environment without any setting of this service: for a child process that must inherit none. */
export function environmentWithoutSettings(
  env: Record<string, string | undefined> = process.env,
): Record<string, string | undefined> {
  const settings = new Set(Object.keys(environment.shape).flatMap((name) => [name, `${name}_FILE`]));
  return Object.fromEntries(Object.entries(env).filter(([name]) => !settings.has(name)));
}

function group(
  values: Environment,
  performance: z.infer<typeof performanceFile>,
  security: z.infer<typeof securityFile>,
) {
  return {
    production: values.NODE_ENV === "production",
    log: { level: values.LOG_LEVEL },
    dataDir: resolve(values.DATA_DIR),
    shutdownGraceMs: values.SHUTDOWN_GRACE_MS,
    database: { url: values.DATABASE_URL, poolSize: values.DATABASE_POOL_SIZE },
    redis: { url: values.REDIS_URL },
    http: {
      host: values.HOST,
      port: values.PORT,
      processes: performance.worker_processes,
      maxRequests: performance.max_requests,
      keepAliveMs: performance.keepalive * 1000,
      timeoutMs: performance.timeout * 1000,
      secureHeaders: security.secure_headers,
    },
    metricsCache: {
      memoryBytes: performance.metrics_cache.memory_mb * 1024 * 1024,
      shared: performance.metrics_cache.shared,
      ttlMs: performance.metrics_cache.ttl * 1000,
    },
    metricsStream: {
      maxStreams: performance.metrics_stream.max_streams,
      maxStreamsPerKey: performance.metrics_stream.max_streams_per_key,
    },
    rateLimits: groupRateLimits(security.rate_limits),
    threadPool: performance.thread_pool,
    imports: { maxBytes: performance.import_max_bytes },
    workers: {
      processes: values.WORKER_COUNT,
      concurrency: values.WORKER_CONCURRENCY,
      lockMs: values.JOB_LOCK_MS,
      stalledCheckMs: values.JOB_STALLED_CHECK_MS,
    },
    quotas: {
      max_running: values.MAX_RUNNING_PER_ACCOUNT,
      max_waiting: values.MAX_WAITING_PER_ACCOUNT,
      max_export_rows: values.MAX_EXPORT_ROWS,
    },
    fold: { batchSize: values.FOLD_BATCH_SIZE },
    scheduler: { tickSeconds: values.TICK_SECONDS },
    exports: { partRows: values.EXPORT_PART_ROWS, parallelism: values.EXPORT_PARALLELISM },
    artifacts: {
      retentionMs: values.ARTIFACT_RETENTION_HOURS * 3_600_000,
      quotaBytes: values.ARTIFACT_QUOTA_BYTES,
      s3: groupS3(values),
    },
    publicUrl: values.PUBLIC_URL,
    webhooks: {
      allowHttp: values.WEBHOOK_ALLOW_HTTP,
      ports: values.WEBHOOK_PORTS,
      privateNetworks: values.WEBHOOK_PRIVATE_NETWORKS,
    },
    mail:
      values.SMTP_URL !== undefined && values.MAIL_FROM !== undefined
        ? {
            smtpUrl: values.SMTP_URL,
            from: values.MAIL_FROM,
            attachmentMaxBytes: values.MAIL_ATTACHMENT_MAX_BYTES,
          }
        : undefined,
    secrets: {
      apiKey: values.API_KEY,
      whatsappAppSecrets: values.WHATSAPP_APP_SECRET,
      whatsappVerifyToken: values.WHATSAPP_VERIFY_TOKEN,
      wahaHmacKeys: values.WAHA_HMAC_KEY,
      artifactKeys: values.ARTIFACT_KEYS,
      s3SecretAccessKey: values.S3_SECRET_ACCESS_KEY,
    },
  };
}

function groupS3(values: Environment) {
  if (values.S3_BUCKET === undefined) return undefined;
  const folder = values.S3_PREFIX.replace(/^\/+|\/+$/g, "");
  return {
    bucket: values.S3_BUCKET,
    prefix: folder === "" ? "" : `${folder}/`,
    region: values.S3_REGION,
    endpoint: values.S3_ENDPOINT,
    forcePathStyle: values.S3_FORCE_PATH_STYLE,
    accessKeyId: values.S3_ACCESS_KEY_ID,
    redirects: values.S3_REDIRECTS,
  };
}

/** The environment for a child process: ours with these values, which also replace what NAME_FILE says. */
export function environmentWith(
  values: Partial<Record<keyof Environment | "UV_THREADPOOL_SIZE", string>>,
): NodeJS.ProcessEnv {
  const replaced = Object.keys(values).map((name) => [`${name}_FILE`, undefined]);
  return { ...process.env, ...Object.fromEntries(replaced), ...values };
}

function withFiles(
  env: Record<string, string | undefined>,
  problems: string[],
): Record<string, string | undefined> {
  const values: Record<string, string | undefined> = {};
  for (const name of Object.keys(environment.shape)) {
    const file = env[`${name}_FILE`];
    // An empty variable means "not set": compose files and shells pass those for what they do not know.
    const value = env[name] || undefined;
    if (file && value !== undefined) problems.push(`${name}: set either ${name} or ${name}_FILE, not both`);
    values[name] = file ? readSecretFile(name, file, problems) : value;
  }
  return values;
}

function readSecretFile(name: string, file: string, problems: string[]): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    problems.push(`${name}_FILE: cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
    return undefined;
  }
}

function readYaml(directory: string, file: string, problems: string[]): unknown {
  let text: string;
  try {
    text = readFileSync(join(directory, file), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    problems.push(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
    return {};
  }
  try {
    return parseYaml(text) ?? {};
  } catch (error) {
    problems.push(`${file}: ${(error as Error).message.split("\n")[0]}`);
    return {};
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
