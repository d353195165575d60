import { createPostgresBackend, type Job, type JobsOptions, Queue, runMigrations } from "bullmq";
import { Redis } from "ioredis";
import pg from "pg";
import { createPool } from "../db/client.js";
import { Unavailable } from "../errors.js";
import { type Log, seldomWarnings } from "../log.js";
import {
  type Enqueue,
  type EnqueueOptions,
  type JobDefinition,
  type JobState,
  type QueueName,
  queueNames,
} from "./define-job.js";

/** Where the queues live: Redis when it is configured, else a schema of its own in Postgres. */
export type QueueStore = { kind: "redis"; url: string } | { kind: "postgres"; url: string; poolSize: number };

export interface Queues {
  enqueue: Enqueue;
  /** What the queue knows of a job. */
  stateOf(queue: QueueName, id: string): Promise<JobState>;
  /** Takes a job that has not started out of the queue; a running one is left alone. */
  remove(queue: QueueName, id: string): Promise<void>;
  /** Nothing is taken from it any more, by no worker; what runs goes on. */
  pause(queue: QueueName): Promise<void>;
  resume(queue: QueueName): Promise<void>;
  isPaused(queue: QueueName): Promise<boolean>;
  counts(): Promise<Record<string, Record<string, number>>>;
  /** For Bull Board only. */
  all(): readonly Queue[];
  /** Rejects when the queues cannot be used safely: away, or in a Redis that may evict jobs. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** An add that takes longer than this is refused, so that a request never hangs on a queue that is away. */
const ENQUEUE_TIMEOUT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;

/** With commands unanswered for so long a connection counts as dead. A worker's may block for 10 s. */
const SILENCE_TIMEOUT_MS = { producer: 3_000, worker: 20_000 } as const;

/** Payloads hold ids and ranges; a larger one is a mistake of ours. */
const MAX_PAYLOAD_BYTES = 16_384;

/** The schema of the queues when they live in Postgres. */
const QUEUE_SCHEMA = "bullmq";

/** One slot of Redis Cluster per queue: the name is its hash tag. */
export const queueKey = (installationId: string, name: QueueName): string => `{${installationId}-${name}}`;

/** A producer of jobs. Opens its connections at once; `close` releases all of them. */
export function createQueues(options: {
  store: QueueStore;
  installationId: string;
  process: string;
  log: Log;
}): Queues {
  const connection = openStore(options.store, options.process, options.log, "producer");
  const warn = seldomWarnings();
  const queues = new Map(
    queueNames.map((name) => {
      const queue = connection.queue(queueKey(options.installationId, name));
      queue.on("error", (error) => warn(options.log, "queue error", { queue: name, error }));
      return [name, queue];
    }),
  );
  return {
    async enqueue(job, payload, call) {
      const data = job.payload.parse(payload) as object;
      // Not left to BullMQ, whose refusal would look like a queue that is away.
      if (Buffer.byteLength(JSON.stringify(data)) > MAX_PAYLOAD_BYTES)
        throw new RangeError(`the payload of ${job.kind} is larger than ${MAX_PAYLOAD_BYTES} bytes`);
      const add = () => queues.get(job.queue)!.add(job.kind, data, jobOptions(job, payload, call));
      // Once more: the first may have met a connection that had just ended. A job too many would do no harm.
      await withTimeout(add().catch(add), ENQUEUE_TIMEOUT_MS);
    },
    async stateOf(queue, id) {
      const state = await queues.get(queue)!.getJobState(id);
      if (state === "prioritized" || state === "waiting-children") return "waiting";
      return state;
    },
    async remove(queue, id) {
      await queues.get(queue)!.remove(id);
    },
    pause: (queue) => queues.get(queue)!.pause(),
    resume: (queue) => queues.get(queue)!.resume(),
    isPaused: (queue) => queues.get(queue)!.isPaused(),
    async counts() {
      const entries = await Promise.all(
        [...queues].map(async ([name, queue]) => [name, await queue.getJobCounts()] as const),
      );
      return Object.fromEntries(entries);
    },
    all: () => [...queues.values()],
    ping: connection.ping,
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
      await connection.close();
    },
  };
}

function jobOptions<Payload>(
  job: JobDefinition<Payload>,
  payload: Payload,
  call: EnqueueOptions | undefined,
): JobsOptions {
  const key = call?.dedupe === false ? undefined : job.dedupe?.(payload);
  return {
    attempts: job.attempts,
    backoff: { type: job.backoff.type, delay: job.backoff.delayMs, jitter: 0.3 },
    removeOnComplete: { age: 3_600, count: 1_000 },
    removeOnFail: { age: 14 * 24 * 3_600, count: 5_000 },
    ...(call?.id === undefined ? {} : { jobId: call.id }),
    ...(call?.delayMs === undefined ? {} : { delay: call.delayMs }),
    // A job without a number comes before all that have one.
    ...(call?.isLowPriority ? { priority: 1 } : {}),
    ...(key === undefined ? {} : { deduplication: { id: `${job.kind}/${key}`, keepLastIfActive: true } }),
  };
}

async function withTimeout<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(queueAway(new Error(`no answer within ${timeoutMs} ms`))), timeoutMs);
  });
  // The add may still fail after we have stopped waiting for it.
  work.catch(() => {});
  try {
    return await Promise.race([work.catch((error: unknown) => Promise.reject(queueAway(error))), late]);
  } finally {
    clearTimeout(timer);
  }
}

const queueAway = (cause: unknown) =>
  new Unavailable("queue_unavailable", "The job queue cannot be reached; try again shortly.", {
    cause,
    headers: { "retry-after": "2" },
  });

/** A connection that queues and workers of one process share. */
export interface StoreConnection {
  queue(name: string): Queue;
  /** For the workers' constructor: the connection, and the backend factory when it is not Redis. */
  workerArguments: { connection: object; backend: typeof createPostgresBackend | undefined };
  ping(): Promise<void>;
  close(): Promise<void>;
}

export function openStore(
  store: QueueStore,
  name: string,
  log: Log,
  role: "producer" | "worker",
): StoreConnection {
  return store.kind === "redis" ? openRedis(store.url, name, log, role) : openPostgres(store, name, log);
}

function openRedis(url: string, name: string, log: Log, role: "producer" | "worker"): StoreConnection {
  const redis = new Redis(url, {
    connectionName: name,
    // A producer answers 503 at once instead of queueing commands in memory; a worker waits for Redis to come back.
    enableOfflineQueue: role === "worker",
    maxRetriesPerRequest: role === "worker" ? null : 1,
    retryStrategy: (times) => Math.min(100 * times, 2_000),
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SILENCE_TIMEOUT_MS[role],
  });
  const warn = seldomWarnings();
  redis.on("error", (error) => warn(log, "redis error", { error }));
  return {
    queue: (queueName) => new Queue(queueName, { connection: redis as never }),
    workerArguments: { connection: redis, backend: undefined },
    ping: async () => requireNoEviction(await redis.info("memory")),
    close: async () => {
      redis.disconnect();
    },
  };
}

/** Any other policy lets Redis throw jobs and locks away when its memory is full. Some hosts do not tell theirs. */
function requireNoEviction(info: string): void {
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? "noeviction";
  if (policy !== "noeviction")
    throw new Error(`Redis has maxmemory-policy ${policy}: it would evict jobs; set noeviction`);
}

function openPostgres(store: { url: string; poolSize: number }, name: string, log: Log): StoreConnection {
  const warn = seldomWarnings();
  const pool = createPool(
    {
      url: store.url,
      name: `${name} queues`,
      size: store.poolSize,
      statementTimeoutMs: 0,
      settings: { search_path: QUEUE_SCHEMA },
    },
    (error) => warn(log, "queue connection lost", { error }),
  );
  return {
    // The two backends' types differ only in what `connection` may be.
    queue: (queueName) =>
      new Queue(queueName, { connection: pool as never }, createPostgresBackend) as unknown as Queue,
    workerArguments: { connection: pool, backend: createPostgresBackend },
    ping: async () => void (await pool.query("select 1")),
    close: () => pool.end(),
  };
}

/** Makes or updates the tables of the Postgres queues. Safe from several processes at once. */
export async function migrateQueues(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await runMigrations(client, QUEUE_SCHEMA);
  } finally {
    await client.end();
  }
}

export type { Job };
