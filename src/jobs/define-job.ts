import type { z } from "zod";
import type { Db } from "../db/client.js";
import type { CopySource } from "../db/copy.js";
import type { Egress } from "../delivery/egress.js";
import type { Mailer } from "../delivery/mailer.js";
import type { ArtifactStore } from "../exports/artifacts/artifact-store.js";
import type { Log } from "../log.js";
import type { Admission } from "./admission.js";

/** Queues by latency class, not by feature. */
export const queueNames = [
  "aggregation",
  "reports",
  "exports",
  "imports",
  "delivery",
  "maintenance",
] as const;
export type QueueName = (typeof queueNames)[number];

export interface EnqueueOptions {
  /** Makes the add idempotent while a job of this id is known: a row's id, a schedule's slot. */
  id?: string;
  delayMs?: number;
  /** Taken only when nothing else of its queue waits. */
  isLowPriority?: boolean;
  /** `false`: add it even if the queue believes that such a job is already waiting. */
  dedupe?: false;
}

/** Asks for work. Resolves when the queue has it; throws `Unavailable` when the queue cannot be reached. */
export type Enqueue = <Payload>(
  job: JobDefinition<Payload>,
  payload: Payload,
  options?: EnqueueOptions,
) => Promise<void>;

export type JobState = "waiting" | "active" | "delayed" | "completed" | "failed" | "unknown";

/** What every job may use. `signal` fires on time-out, cancel and shutdown; its reason says which. */
export interface JobContext extends Admission {
  db: Db;
  copy: CopySource;
  artifacts: ArtifactStore;
  log: Log;
  signal: AbortSignal;
  now: () => Date;
  enqueue: Enqueue;
  /** What the queue knows of a job. */
  stateOf(queue: QueueName, id: string): Promise<JobState>;
  /** Takes a job that has not started out of the queue. */
  removeJob(queue: QueueName, id: string): Promise<void>;
  settings: JobSettings;
  /** Where webhooks may go. */
  egress: Egress;
  /** Undefined where no SMTP server is configured. */
  mailer: Mailer | undefined;
  job: {
    id: string;
    /** When it was added; the "when" of scheduled jobs. */
    addedAt: Date;
    isLastAttempt: boolean;
  };
  /** Name of the process, shown beside the runs it works on. */
  worker: string;
}

/** What is lent to a job that was given up. */
export type GivenUpContext = Pick<JobContext, "db" | "log" | "admit">;

export interface JobSettings {
  foldBatchSize: number;
  /** Of accounts that have set neither: how long files are kept, and how many bytes they may have together (0: any). */
  artifactRetentionMs: number;
  artifactQuotaBytes: number;
  /** Rows of a part: a file of more is built in several. */
  exportPartRows: number;
  /** Parts of one file that are built at the same time, at most. */
  exportParallelism: number;
  /** How the service is reached from outside; undefined: nobody said. */
  publicUrl: string | undefined;
}

export interface Backoff {
  type: "exponential" | "fixed";
  delayMs: number;
}

export interface JobDefinition<Payload> {
  /** Stable for ever: it names the jobs already queued. */
  kind: string;
  queue: QueueName;
  payload: z.ZodType<Payload>;
  /** Attempts after errors. A drained or stalled worker spends none. */
  attempts: number;
  backoff: Backoff;
  timeoutMs: number;
  /**
   * While a job of this key waits, another add is ignored; while it runs, one more run follows it with the newest
   * payload. Only for payloads that are nothing but their key.
   */
  dedupe: ((payload: Payload) => string) | undefined;
  /** Runs on its own, once per fire of the cron expression (UTC), however many schedulers there are. */
  schedule: { cron: string; payload: Payload } | undefined;
  /** Does the work, returns small counts for the log. Safe to run twice, killed anywhere, late. */
  run(payload: Payload, context: JobContext): Promise<Record<string, unknown>>;
  /** Called once when the queue has given the job up, also when it kept killing its worker. */
  onGivenUp: ((payload: Payload, error: Error, context: GivenUpContext) => Promise<void>) | undefined;
}

/** Any of them, in lists: what a payload is stays the definition's own business. */
// biome-ignore lint/suspicious/noExplicitAny: definitions of different payloads share no other type
export type AnyJob = JobDefinition<any>;

type Defaulted = "attempts" | "backoff" | "timeoutMs" | "dedupe" | "schedule" | "onGivenUp";

/** Fills the defaults; a call of `enqueue` may override attempts, delay and id. */
export function defineJob<Payload>(
  definition: Omit<JobDefinition<Payload>, Defaulted> & Partial<Pick<JobDefinition<Payload>, Defaulted>>,
): JobDefinition<Payload> {
  return {
    attempts: 5,
    backoff: { type: "exponential", delayMs: 1_000 },
    timeoutMs: 15 * 60_000,
    dedupe: undefined,
    schedule: undefined,
    onGivenUp: undefined,
    ...definition,
  };
}
