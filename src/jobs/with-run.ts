import { z } from "zod";
import { isDatabaseAway } from "../db/errors.js";
import { targetsOfRun } from "../db/queries/deliveries.js";
import {
  beatRun,
  type Claim,
  claimRun,
  failAbandonedRun,
  type Progress,
  type Run,
  type RunKey,
  settleRun,
} from "../db/queries/runs.js";
import type { Artifact, RunError } from "../db/schema.js";
import { AppError, PermanentJobError, Unavailable } from "../errors.js";
import type { GivenUpContext, JobContext } from "./define-job.js";
import { startHeart } from "./heart.js";
import { Interrupted } from "./interrupted.js";
import { removeFile } from "./remove-file.js";
import { reviewSchedule } from "./review-schedule.js";
import { sendDeliveries } from "./send-deliveries.js";
import type { ServiceFault } from "./service-faults.js";

export interface RunWork {
  run: Run;
  claim: Claim;
  signal: AbortSignal;
  /** The work counts into this; the heartbeat writes it down. */
  progress: Progress;
}

export interface RunOutcome {
  artifact?: Artifact;
  result?: Record<string, unknown>;
  /** The file is made of what other workers may have stored, and whoever has the run now may need. */
  inParts?: boolean;
}

/**
 * Works on one run: claims it under a new fence, keeps its heartbeat, and makes the outcome visible in one conditional
 * statement. A run that is finished, cancelled or of another generation is left alone, and a worker that was taken for
 * dead finds its fence gone: it publishes nothing, and removes what it alone has made.
 */
export async function withRun(
  key: RunKey,
  context: JobContext,
  work: (work: RunWork) => Promise<RunOutcome>,
): Promise<Record<string, unknown>> {
  const run = await claimRun(context.db, key, context.worker);
  if (!run) return { skipped: "nothing to do" };
  const claim = { accountId: key.accountId, runId: key.runId, fence: run.fence };
  const progress: Progress = { rows: 0, bytes: 0 };
  const heart = startHeart(() => sendBeat(context, claim, progress));
  const signal = AbortSignal.any([context.signal, heart.signal]);
  const startedAtMs = performance.now();
  let tookMs: number | undefined;
  try {
    const { inParts, ...outcome } = await work({ run, claim, signal, progress });
    const discard = async () => {
      if (outcome.artifact && !inParts) await removeFile(context.artifacts, outcome.artifact);
    };
    await heart.stop();
    if (signal.aborted) {
      await discard();
      throw signal.reason;
    }
    const published = await settleRun(context.db, claim, { status: "succeeded", ...outcome }, progress);
    if (published) {
      tookMs = performance.now() - startedAtMs;
      await wakeDeliveries(run, context);
      return { run: key.runId, rows: progress.rows, bytes: progress.bytes };
    }
    await discard();
    return await afterLosing(context, claim);
  } catch (error) {
    await heart.stop();
    return await settleError(context, run, claim, signal.aborted ? signal.reason : error);
  } finally {
    // Its place is free, for whoever is next.
    await context.admit(run.kind, run.account_id, tookMs);
  }
}

/** Asks for what the end of the run has to tell. Its rows are there by now: what is not asked for here is found due. */
async function wakeDeliveries(run: Run, { db, enqueue, log }: JobContext): Promise<void> {
  if (!run.params.notify) return;
  try {
    for (const target of await targetsOfRun(db, run.account_id, run.run_id))
      await enqueue(sendDeliveries, target);
  } catch (error) {
    log.warn("deliveries not asked for yet; they will be found due", { error });
  }
}

/** A schedule whose runs fail again and again through no fault of ours is switched off. */
async function review(
  { account_id: accountId, schedule_id: scheduleId }: Run,
  context: JobContext,
): Promise<void> {
  if (scheduleId !== null)
    await reviewSchedule(context.db, { accountId, scheduleId }, context.now(), context.log);
}

/** Nothing was published: either a cancel came in the last moment, or somebody else holds the run. */
async function afterLosing(context: JobContext, claim: Claim): Promise<Record<string, unknown>> {
  context.log.warn("fenced: another worker holds this run, nothing was published", { ...claim });
  return { skipped: "fenced" };
}

/** Writes down what the error means for the run, then hands it to the job wrapper, which decides about a retry. */
async function settleError(
  context: JobContext,
  run: Run,
  claim: Claim,
  thrown: unknown,
): Promise<Record<string, unknown>> {
  const { db, job } = context;
  const error = refusedForGood(thrown);
  if (error instanceof Interrupted) {
    if (error.why === "fenced") return afterLosing(context, claim);
    if (error.why === "cancelled") {
      await settleRun(db, claim, { status: "cancelled" });
      await wakeDeliveries(run, context);
      return { cancelled: true };
    }
  }
  if (isInterrupted(error, "shutdown") || isDatabaseAway(error)) {
    await settleRun(db, claim, { status: "queued", spendAttempt: false });
    throw error;
  }
  const shown = shownError(error);
  const final = error instanceof PermanentJobError || job.isLastAttempt;
  await settleRun(
    db,
    claim,
    final ? { status: "failed", error: shown } : { status: "queued", error: shown, spendAttempt: true },
  );
  if (final) {
    await wakeDeliveries(run, context);
    await review(run, context);
  }
  throw error;
}

/** What an API would answer with 4xx is as wrong the next time, and so is what this release's schema does not know. */
function refusedForGood(error: unknown): unknown {
  if (error instanceof AppError && error.status < 500)
    return new PermanentJobError(error.code, error.message, { cause: error });
  if (error instanceof z.ZodError) {
    const [first] = error.issues;
    const message = `${first?.path.join(".")}: ${first?.message}`;
    return new PermanentJobError("invalid_request", message, { cause: error });
  }
  return error;
}

const isInterrupted = (error: unknown, why: Interrupted["why"]) =>
  error instanceof Interrupted && error.why === why;

/** What the person who asked for the run gets to see; an unknown error's text may hold anything, so it stays in the log. */
function shownError(error: unknown): RunError {
  if (error instanceof PermanentJobError || error instanceof Unavailable)
    return { code: error.code, message: error.message };
  return shownFault(error);
}

function shownFault(error: unknown): { code: ServiceFault; message: string } {
  if (error instanceof Interrupted && error.why === "timeout")
    return { code: "timed_out", message: error.message };
  const { code } = error as { code?: unknown };
  if (code === "ENOSPC") return { code: "disk_full", message: "The disk for artifacts is full." };
  return {
    code: "internal_error",
    message: "An unexpected error; the log has its cause under this run's id.",
  };
}

/** For `onGivenUp`: the queue will not try again, so whoever waits must hear of it. */
export async function giveUpRun(
  key: RunKey,
  error: Error,
  { db, log, admit }: GivenUpContext,
): Promise<void> {
  const poisoned = /stalled/i.test(error.message);
  const shown = poisoned
    ? {
        code: "poison" satisfies ServiceFault,
        message:
          "The work ended its worker process several times and was given up; an operator has to look at it.",
      }
    : shownError(error);
  const run = await failAbandonedRun(db, key, shown, { park: poisoned });
  if (!run) return;
  log.error(poisoned ? "run parked" : "run given up", { ...key, error });
  await admit(run.kind, run.account_id);
}

async function sendBeat(
  { db, log }: JobContext,
  claim: Claim,
  progress: Progress,
): Promise<Interrupted | undefined> {
  try {
    const state = await beatRun(db, claim, progress);
    if (state === "lost") return new Interrupted("fenced", "another worker holds this run");
    if (state === "cancel_requested") return new Interrupted("cancelled", "cancelled on request");
  } catch (error) {
    // A database that is away for a moment is no reason to stop: the next beat tells whether the run is still ours.
    log.warn("heartbeat failed", { runId: claim.runId, error });
  }
  return undefined;
}
