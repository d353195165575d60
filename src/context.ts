import type pg from "pg";
import type { Config } from "./config.js";
import { createDb, createPool, type Db, type PoolOptions } from "./db/client.js";
import { type Installation, readInstallation } from "./db/queries/installation.js";
import type { ArtifactStore } from "./exports/artifacts/artifact-store.js";
import { createArtifactStore } from "./exports/artifacts/create-store.js";
import { type Admission, createAdmission } from "./jobs/admission.js";
import { createQueues, type QueueStore, type Queues } from "./jobs/queue.js";
import { createLog, type Log, seldomWarnings } from "./log.js";

/** What every part of a process shares. Made once by its main, released in the opposite order. */
export interface Context extends AsyncDisposable {
  config: Config;
  log: Log;
  /** Of the database that is in use, embedded or configured. */
  databaseUrl: string;
  pool: pg.Pool;
  db: Db;
  installation: Installation;
  queues: Queues;
  artifacts: ArtifactStore;
  admission: Admission;
  now: () => Date;
  /** Run first when the context is disposed: what still has to reach the database or the queues. */
  beforeClose: (() => Promise<void>)[];
}

type ProcessName = "api" | "worker" | "scheduler" | "cli";
type Bounds = Omit<PoolOptions, "url" | "name" | "size" | "settings">;

/** Somebody waits for an answer of the API: an error within seconds is better. Jobs wait, and have their own time-outs. */
const databaseBounds: Record<ProcessName, Bounds> = {
  api: {
    acquireTimeoutMs: 2_000,
    lockTimeoutMs: 2_000,
    statementTimeoutMs: 15_000,
    silenceTimeoutMs: 18_000,
  },
  worker: {
    acquireTimeoutMs: 15_000,
    lockTimeoutMs: 30_000,
    statementTimeoutMs: 15 * 60_000,
    // Longer than a job may take without a word; the jobs' own time-outs come first.
    silenceTimeoutMs: 65 * 60_000,
  },
  scheduler: { statementTimeoutMs: 15_000, silenceTimeoutMs: 18_000 },
  cli: { statementTimeoutMs: 0 },
};

/** Slots for the queues' LISTEN connections and their commands, when the queues live in Postgres. */
export const QUEUE_POOL_SIZE = 10;

/**
 * Opens database and queues, in this order. Throws when the database cannot be reached or has no schema yet; what was
 * opened until then is closed again.
 */
export async function openContext(
  config: Config,
  options: { process: ProcessName; databaseUrl?: string; log?: Log },
): Promise<Context> {
  const url = options.databaseUrl ?? config.database.url;
  if (!url)
    throw new Error(
      "DATABASE_URL is not set. `npm start` brings its own database; a single process needs the URL.",
    );
  const log = options.log ?? createLog({ level: config.log.level, process: options.process });
  const warn = seldomWarnings();
  const pool = createPool(
    {
      url,
      name: options.process,
      size: config.database.poolSize,
      ...databaseBounds[options.process],
    },
    (error) => warn(log, "database connection lost", { error }),
  );
  const db = createDb(pool);
  try {
    const installation = await readInstallation(db);
    const queues = createQueues({
      store: queueStore(config, url),
      installationId: installation.installationId,
      process: options.process,
      log,
    });
    const beforeClose: (() => Promise<void>)[] = [];
    return {
      config,
      log,
      databaseUrl: url,
      pool,
      db,
      installation,
      queues,
      artifacts: openArtifacts(config),
      admission: createAdmission({
        db,
        enqueue: queues.enqueue,
        log,
        maxRunning: config.quotas.max_running,
        slotsWithoutWorkers: config.workers.concurrency,
      }),
      now: () => new Date(),
      beforeClose,
      async [Symbol.asyncDispose]() {
        await Promise.all(beforeClose.map((finish) => finish()));
        await queues.close();
        await pool.end();
      },
    };
  } catch (error) {
    await pool.end();
    throw error;
  }
}

export function queueStore(config: Config, databaseUrl: string): QueueStore {
  return config.redis.url
    ? { kind: "redis", url: config.redis.url }
    : { kind: "postgres", url: databaseUrl, poolSize: QUEUE_POOL_SIZE };
}

function openArtifacts({ dataDir, artifacts: { s3 }, secrets }: Config): ArtifactStore {
  const { artifactKeys: keys, s3SecretAccessKey: secretAccessKey } = secrets;
  if (!s3) return createArtifactStore({ dataDir, s3, keys });
  const { accessKeyId, ...place } = s3;
  const credentials = accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined;
  return createArtifactStore({ dataDir, s3: { ...place, credentials }, keys });
}
