import { hostname } from "node:os";
import { type Job, WaitingError, Worker } from "bullmq";
import { type Context, queueStore } from "../context.js";
import { createPool } from "../db/client.js";
import { createCopySource } from "../db/copy.js";
import { createEgress } from "../delivery/egress.js";
import { createMailer } from "../delivery/mailer.js";
import { type AnyJob, queueNames } from "../jobs/define-job.js";
import { jobs } from "../jobs/index.js";
import { Interrupted } from "../jobs/interrupted.js";
import { openStore, queueKey } from "../jobs/queue.js";
import { seldomWarnings } from "../log.js";
import { watchClock } from "./clock-watch.js";
import { announceWorker } from "./presence.js";
import { type JobEnd, type JobServices, runJob } from "./run-job.js";

/**
 * Deaths of a worker that a job survives: a crash or a lost machine may hit the same job more than once. The next one
 * is taken for the job's own doing.
 */
export const MAX_STALLS = 4;
/** A COPY that brings nothing for so long has lost its server: the first row of a rare filter may take its time. */
const COPY_SILENCE_MS = 65 * 60_000;
/** Deliveries only wait for others, and one that waits long must not hold up the rest. */
const JOBS_IN_PLACE_OF_ONE = 8;
/** How long a drained job has to let go after it was told to: well within `CLOSING_MS`. */
const HAND_BACK_MS = 5_000;

export interface Workers {
  /** Takes no new job, lets the running ones finish within `graceMs`, then hands them back to the queue. */
  drain(graceMs: number): Promise<void>;
}

export interface WorkerOptions {
  observe?: (kind: string, end: JobEnd, durationMs: number) => void;
  /** The kinds to run; all of them unless a test has its own. */
  definitions?: readonly AnyJob[];
  /** Milliseconds between two looks at the clock. */
  clockCheckMs?: number;
}

/**
 * One worker per queue, each with its own error listener, all on one connection of this process. They are there once
 * the clock is right, and pause while it is not.
 */
export async function startWorkers(context: Context, options: WorkerOptions = {}): Promise<Workers> {
  const { config, log } = context;
  const byKind = indexByKind(options.definitions ?? jobs);
  const clock = await watchClock(context, {
    ...(options.clockCheckMs === undefined ? {} : { checkMs: options.clockCheckMs }),
    onChange: (right) => {
      for (const worker of workers) void (right ? worker.resume() : worker.pause(true));
    },
  });
  const store = openStore(queueStore(config, context.databaseUrl), "worker", log, "worker");
  const warn = seldomWarnings();
  const copyPool = createPool(
    {
      url: context.databaseUrl,
      name: "worker copy",
      size: copyPoolSize(config),
      statementTimeoutMs: 0,
      silenceTimeoutMs: COPY_SILENCE_MS,
    },
    (error) => warn(log, "copy connection lost", { error }),
  );
  const shutdown = new AbortController();
  const services: JobServices = {
    db: context.db,
    copy: createCopySource(copyPool),
    artifacts: context.artifacts,
    log,
    now: context.now,
    enqueue: context.queues.enqueue,
    ...context.admission,
    stateOf: context.queues.stateOf,
    removeJob: context.queues.remove,
    settings: {
      foldBatchSize: config.fold.batchSize,
      artifactRetentionMs: config.artifacts.retentionMs,
      artifactQuotaBytes: config.artifacts.quotaBytes,
      exportPartRows: config.exports.partRows,
      exportParallelism: config.exports.parallelism,
      publicUrl: config.publicUrl,
    },
    egress: createEgress(config.webhooks),
    mailer: config.mail && createMailer(config.mail),
    worker: `${hostname()}/${process.pid}`,
    shutdown: shutdown.signal,
    observe: options.observe ?? (() => {}),
  };
  const presence = await announceWorker(context, services.worker);
  const workers = queueNames.map((name) => {
    const process = async (job: Job, token?: string, signal?: AbortSignal) => {
      // A worker that is paused while it waits still takes the job that it waited for.
      if (!clock.isRight()) return handBack(job, token);
      return runJob(byKind.get(job.name) ?? unknownKind(job.name), job, token, signal, services);
    };
    const { connection, backend } = store.workerArguments;
    const settings = {
      connection: connection as never,
      concurrency: config.workers.concurrency * (name === "delivery" ? JOBS_IN_PLACE_OF_ONE : 1),
      lockDuration: config.workers.lockMs,
      lockRenewTime: config.workers.lockMs / 3,
      stalledInterval: config.workers.stalledCheckMs,
      maxStalledCount: MAX_STALLS,
      drainDelay: 5,
    };
    const key = queueKey(context.installation.installationId, name);
    const worker = (backend
      ? new Worker(key, process, settings, backend)
      : new Worker(key, process, settings)) as unknown as Worker;
    worker.on("error", (error) => warn(log, "worker error", { queue: name, error }));
    worker.on("stalled", (job) => log.warn("job stalled: its worker went away", { queue: name, job }));
    worker.on("failed", (job, error) => {
      if (job) void giveUpIfFinal(byKind, job, error, services);
    });
    return worker;
  });
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  await context.admission.admitAll();
  return {
    async drain(graceMs) {
      clock.stop();
      const left = presence.leave();
      // Takes no new job from here on; the promise is settled when the running ones are done.
      const closed = Promise.all(workers.map((worker) => worker.close()));
      const told = setTimeout(
        () => shutdown.abort(new Interrupted("shutdown", "the worker is shutting down")),
        graceMs,
      );
      const late = new Promise<void>((resolve) => setTimeout(resolve, graceMs + HAND_BACK_MS).unref());
      await Promise.race([closed, late]);
      clearTimeout(told);
      await left;
      await store.close();
      await copyPool.end();
    },
  };
}

/** Every report and every export may run a COPY, every export holds a snapshot beside it. One more cancels. */
export const copyPoolSize = (config: Context["config"]) => config.workers.concurrency * 3 + 1;

function indexByKind(definitions: readonly AnyJob[]): Map<string, AnyJob> {
  const byKind = new Map(definitions.map((definition) => [definition.kind, definition]));
  if (byKind.size !== definitions.length) throw new Error("two jobs have the same kind");
  return byKind;
}

/** To the workers of other processes; spends no attempt. */
async function handBack(job: Job, token: string | undefined): Promise<never> {
  await job.moveToWait(token);
  throw new WaitingError();
}

function unknownKind(kind: string): never {
  throw new Error(`no job of kind ${kind} here: a newer release may know it`);
}

/** Tells whoever waits for the job that the queue will not try it again. */
async function giveUpIfFinal(
  byKind: Map<string, AnyJob>,
  job: Job,
  error: Error,
  { db, log, admit }: JobServices,
): Promise<void> {
  const definition = byKind.get(job.name);
  if (!definition?.onGivenUp || job.finishedOn === undefined) return;
  const payload = definition.payload.safeParse(job.data);
  if (!payload.success) return;
  await definition
    .onGivenUp(payload.data, error, { db, log, admit })
    .catch((cause: unknown) => log.error("giving up failed; the sweep will", { job: job.id, error: cause }));
}
