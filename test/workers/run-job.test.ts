import { once } from "node:events";
import { DelayedError, type Job, UnrecoverableError } from "bullmq";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { PermanentJobError } from "../../src/errors.js";
import { defineJob, type JobContext, type JobDefinition } from "../../src/jobs/define-job.js";
import { Interrupted } from "../../src/jobs/interrupted.js";
import { type JobServices, runJob } from "../../src/workers/run-job.js";
import { silentLog } from "../support/postgres.js";

interface Payload {
  id: string;
}

const jobOf = (
  run: JobDefinition<Payload>["run"],
  more: Partial<Pick<JobDefinition<Payload>, "timeoutMs" | "attempts" | "schedule">> = {},
) =>
  defineJob({
    kind: "test.job",
    queue: "maintenance",
    payload: z.strictObject({ id: z.string() }),
    run,
    ...more,
  });

/** Runs a job as a worker does; returns what it gave or threw, what was observed, and where the job was moved. */
async function attempt(
  definition: JobDefinition<Payload>,
  more: { data?: unknown; attemptsMade?: number; shutdown?: AbortSignal; lock?: AbortSignal } = {},
) {
  const observed: string[] = [];
  const moved: unknown[][] = [];
  const job = {
    id: "7",
    name: definition.kind,
    data: more.data ?? { id: "a" },
    attemptsMade: more.attemptsMade ?? 0,
    timestamp: 1_000,
    moveToDelayed: async (...how: unknown[]) => {
      moved.push(how);
    },
  };
  const services = {
    log: silentLog,
    shutdown: more.shutdown ?? new AbortController().signal,
    observe: (kind: string, end: string, durationMs: number) => {
      observed.push(`${kind} ${end}`);
      expect(durationMs).toBeGreaterThanOrEqual(0);
    },
  };
  const outcome = await runJob(
    definition,
    job as unknown as Job,
    "token",
    more.lock,
    services as unknown as JobServices,
  ).then(
    (result) => ({ result, error: undefined }),
    (error: unknown) => ({ result: undefined, error }),
  );
  return { ...outcome, observed, moved };
}

/** Goes on until its signal fires, then throws the reason, as `signal.throwIfAborted` does. */
const untilAborted = jobOf(async (_payload, { signal }) => {
  if (!signal.aborted) await once(signal, "abort");
  throw signal.reason;
});

describe("one attempt of a job", () => {
  it("gets its payload and where it stands, and its result is counted", async () => {
    const seen: Pick<JobContext, "job">["job"][] = [];
    const definition = jobOf(
      async ({ id }, { job }) => {
        seen.push(job);
        return { id };
      },
      { attempts: 2 },
    );
    const first = await attempt(definition);
    expect(first).toEqual({ result: { id: "a" }, error: undefined, observed: ["test.job done"], moved: [] });
    await attempt(definition, { attemptsMade: 1 });
    const addedAt = new Date(1_000);
    expect(seen).toEqual([
      { id: "7", addedAt, isLastAttempt: false },
      { id: "7", addedAt, isLastAttempt: true },
    ]);
  });

  it("with a payload that its schema refuses is not tried again", async () => {
    let runs = 0;
    const definition = jobOf(async () => ({ runs: ++runs }));
    for (const data of [{}, { id: 1 }, { id: "a", more: true }, "a"]) {
      const { error } = await attempt(definition, { data });
      expect(error).toBeInstanceOf(UnrecoverableError);
      expect((error as Error).message).toContain("payload of test.job refused");
    }
    expect(runs).toBe(0);
  });

  it("that takes too long is told so and retried", async () => {
    const slow = { ...untilAborted, timeoutMs: 20 };
    const { error, observed, moved } = await attempt(slow);
    expect(error).toMatchObject({ name: "Interrupted", why: "timeout" });
    expect(error).not.toBeInstanceOf(UnrecoverableError);
    expect([observed, moved]).toEqual([["test.job failed"], []]);
  });

  it("that failed for good is not retried, any other error is", async () => {
    const permanent = await attempt(
      jobOf(() => Promise.reject(new PermanentJobError("gone", "It is gone."))),
    );
    expect(permanent.error).toBeInstanceOf(UnrecoverableError);
    expect(permanent.error).toMatchObject({ message: "It is gone." });
    expect(permanent.observed).toEqual(["test.job given_up"]);
    const outage = new Error("connection lost");
    const failed = await attempt(jobOf(() => Promise.reject(outage)));
    expect(failed.error).toBe(outage);
    expect(failed.observed).toEqual(["test.job failed"]);
  });

  it("goes back to the queue when the worker leaves", async () => {
    const shutdown = new AbortController();
    const running = attempt(untilAborted, { shutdown: shutdown.signal });
    shutdown.abort(new Interrupted("shutdown", "leaving"));
    const { error, observed, moved } = await running;
    expect(error).toBeInstanceOf(DelayedError);
    expect(moved).toEqual([[expect.any(Number), "token"]]);
    expect(observed).toEqual(["test.job handed_back"]);
  });

  it("that finishes or fails by itself during a shutdown did so", async () => {
    const shutdown = AbortSignal.abort(new Interrupted("shutdown", "leaving"));
    expect(
      (
        await attempt(
          jobOf(async () => ({ ok: 1 })),
          { shutdown },
        )
      ).result,
    ).toEqual({ ok: 1 });
    const bug = new TypeError("a bug");
    const { error, moved } = await attempt(
      jobOf(() => Promise.reject(bug)),
      { shutdown },
    );
    expect([error, moved]).toEqual([bug, []]);
  });

  describe("that meets a database that is away", () => {
    const refused = Object.assign(new Error("connect ECONNREFUSED"), {
      code: "ECONNREFUSED",
      syscall: "connect",
    });

    it("waits in the queue and spends no attempt", async () => {
      const { error, observed, moved } = await attempt(
        jobOf(() => Promise.reject(refused)),
        { attemptsMade: 4 },
      );
      expect(error).toBeInstanceOf(DelayedError);
      expect(moved).toEqual([[expect.any(Number), "token"]]);
      expect(observed).toEqual(["test.job handed_back"]);
    });

    it("fails when it has a schedule: the next fire does its work", async () => {
      const schedule = { cron: "* * * * *", payload: { id: "a" } };
      const { error, moved } = await attempt(jobOf(() => Promise.reject(refused), { schedule }));
      expect([error, moved]).toEqual([refused, []]);
    });
  });

  it("stops when its lock is lost", async () => {
    const lock = new AbortController();
    const running = attempt(untilAborted, { lock: lock.signal });
    lock.abort(new Error("lock lost"));
    expect(await running).toMatchObject({ error: { message: "lock lost" }, moved: [] });
  });
});
