import { setTimeout as delay } from "node:timers/promises";
import { DelayedError, type Job, UnrecoverableError } from "bullmq";
import { z } from "zod";
import { isDatabaseAway } from "../db/errors.js";
import { startDeadline } from "../deadline.js";
import { PermanentJobError } from "../errors.js";
import type { JobContext, JobDefinition } from "../jobs/define-job.js";
import { Interrupted } from "../jobs/interrupted.js";
import type { Log } from "../log.js";

export type JobEnd = "done" | "failed" | "given_up" | "handed_back";

/** What the worker process lends to every job. */
export interface JobServices extends Omit<JobContext, "signal" | "job" | "log"> {
  log: Log;
  /** Fires when the grace of a shutdown is over. */
  shutdown: AbortSignal;
  /** Called once per attempt. */
  observe: (kind: string, end: JobEnd, durationMs: number) => void;
}

/** The first wait for a database that is away; it doubles with every start, so that a job lasts minutes of outage. */
const DATABASE_AWAY_MS = 2_000;
const DATABASE_AWAY_MAX_MS = 60_000;
const HAND_BACK_RETRY_MS = 1_000;

/**
 * Runs one job of any kind: checks its payload, gives it a child logger with its ids and a signal that fires on
 * time-out, lost lock and shutdown, and translates how it ended into what the queue understands. A job that was only
 * told to leave, or found the database away, goes back to the queue without spending an attempt.
 */
export async function runJob<Payload>(
  definition: JobDefinition<Payload>,
  job: Job,
  token: string | undefined,
  lockSignal: AbortSignal | undefined,
  services: JobServices,
): Promise<Record<string, unknown>> {
  const { log: processLog, shutdown, observe, ...lent } = services;
  const payload = parsePayload(definition, job);
  const log = processLog.child({
    job: job.id,
    kind: job.name,
    attempt: job.attemptsMade + 1,
    ...idsOf(payload),
  });
  const { timeoutMs } = definition;
  using deadline = startDeadline(
    timeoutMs,
    [shutdown, lockSignal],
    () => new Interrupted("timeout", `not finished within ${timeoutMs / 1000} s`),
  );
  const startedAt = performance.now();
  const end = (how: JobEnd, level: "debug" | "info" | "warn" | "error", fields: object) => {
    const durationMs = Math.round(performance.now() - startedAt);
    observe(job.name, how, durationMs);
    log.log(level, `job ${how}`, { durationMs, ...fields });
  };
  try {
    const result = await definition.run(payload, {
      ...lent,
      log,
      signal: deadline.signal,
      job: {
        id: job.id ?? "",
        addedAt: new Date(job.timestamp),
        isLastAttempt: job.attemptsMade + 1 >= definition.attempts,
      },
    });
    end("done", definition.schedule ? "debug" : "info", { result });
    return result;
  } catch (error) {
    if (shutdown.aborted && (error === shutdown.reason || isAbort(error))) {
      end("handed_back", "info", {});
      return await handBack(job, token, 0, shutdown);
    }
    // The next fire of a schedule comes anyway: handed back, its jobs would pile up.
    if (isDatabaseAway(error) && !definition.schedule) {
      end("handed_back", "warn", { error });
      return await handBack(job, token, databaseAwayMs(job.attemptsStarted), shutdown);
    }
    if (error instanceof PermanentJobError) {
      end("given_up", "error", { error });
      throw new UnrecoverableError(error.message);
    }
    end("failed", job.attemptsMade + 1 >= definition.attempts ? "error" : "warn", { error });
    throw error;
  }
}

/**
 * Puts a job back into the queue without spending an attempt. A queue in the database that is away with it is asked until
 * it is there again: giving up would count as a failure of the job.
 */
async function handBack(
  job: Job,
  token: string | undefined,
  waitMs: number,
  shutdown: AbortSignal,
): Promise<never> {
  for (;;) {
    try {
      await job.moveToDelayed(Date.now() + waitMs, token);
      throw new DelayedError();
    } catch (error) {
      if (!isDatabaseAway(error) || shutdown.aborted) throw error;
      await delay(HAND_BACK_RETRY_MS, undefined, { ref: false });
    }
  }
}

const databaseAwayMs = (starts: number) =>
  Math.min(DATABASE_AWAY_MS * 2 ** Math.max(0, starts - 1), DATABASE_AWAY_MAX_MS);

function parsePayload<Payload>(definition: JobDefinition<Payload>, job: Job): Payload {
  const parsed = definition.payload.safeParse(job.data);
  if (parsed.success) return parsed.data;
  throw new UnrecoverableError(`payload of ${job.name} refused: ${z.prettifyError(parsed.error)}`);
}

/** Whatever the payload names, the log lines name too. Payloads hold ids and ranges only. */
function idsOf(payload: unknown): Record<string, unknown> {
  return typeof payload === "object" && payload !== null ? { ...payload } : {};
}

const isAbort = (error: unknown) =>
  error instanceof Interrupted || (error instanceof Error && error.name === "AbortError");
