import { once } from "node:events";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCopySource } from "../../src/db/copy.js";
import { claimRun, type RunKey, requestCancel, restartRun } from "../../src/db/queries/runs.js";
import type { Artifact } from "../../src/db/schema.js";
import { PermanentJobError } from "../../src/errors.js";
import { segmentKeys } from "../../src/exports/artifacts/segments.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { defineJob, type JobContext } from "../../src/jobs/define-job.js";
import { Interrupted } from "../../src/jobs/interrupted.js";
import { runKey } from "../../src/jobs/run-key.js";
import { giveUpRun, type RunWork, withRun } from "../../src/jobs/with-run.js";
import { binaryRows } from "../exports/binary-rows.js";
import { silentLog } from "../support/postgres.js";
import { openWork, seedMessages, seedRange, type TestWork, type WholeRun } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
  await seedMessages(test, "shop");
});
afterAll(() => test.close());

const newRun = () =>
  test.insertRun("export", "shop", {
    ...{ dataset: "messages", format: "csv", columns: ["message_id"] },
    ...seedRange,
  });

/** A job over a run whose work is the test's own. */
const jobOf = (work: (work: RunWork) => Promise<object>) =>
  defineJob({
    kind: "test.run",
    queue: "exports",
    payload: runKey,
    run: (key, context) => withRun(key, context, work),
  });

/** Work that goes on until its signal fires; `started` resolves when it has begun. */
function endless() {
  let begin = () => {};
  const started = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const job = jobOf(async ({ signal }) => {
    begin();
    await once(signal, "abort");
    return {};
  });
  return { job, started };
}

const keyOf = ({ artifact }: WholeRun) => segmentKeys(artifact!.segments)[0]!;

describe("a worker that was taken for dead", () => {
  it("publishes nothing and leaves no file", async () => {
    const key = await newRun();
    let takenOver: string | undefined;
    const copy: JobContext["copy"] = {
      ...createCopySource(test.pool),
      async streamAt() {
        // The successor claims, finishes and publishes while the first worker's rows are on their way.
        const before = await test.run(key);
        await test.work(buildExport, key, { worker: "second" });
        takenOver = `${key.runId}/${before.fence}`;
        const source = Readable.from([binaryRows([[Buffer.from("late row")]])]);
        return { source, snapshot: undefined, takenAt: new Date() };
      },
    };
    const { result } = await test.work(buildExport, key, { copy, worker: "first" });
    expect(result).toEqual({ skipped: "fenced" });
    const run = await test.run(key);
    expect(run).toMatchObject({
      status: "succeeded",
      fence: 2,
      artifact: { segments: [{ key: `${key.runId}/2` }] },
    });
    expect(await test.artifacts.size(takenOver!)).toBeUndefined();
    expect(await test.artifacts.size(keyOf(run))).toBe(run.artifact!.bytes);
    expect((await test.file(key)).toString()).not.toContain("late row");
  });

  it("hears of it at its next heartbeat", async () => {
    const key = await newRun();
    const { job, started } = endless();
    const worked = test.work(job, key);
    await started;
    await claimRun(test.db, key, "second");
    expect((await worked).result).toEqual({ skipped: "fenced" });
    expect(await test.run(key)).toMatchObject({ status: "running", worker: "second", fence: 2 });
  });
});

describe("a cancel", () => {
  it("stops running work within two seconds", async () => {
    const key = await newRun();
    const { job, started } = endless();
    const worked = test.work(job, key);
    await started;
    const askedAt = performance.now();
    const told = await requestCancel(test.db, "shop", key.runId);
    expect(told?.status).toBe("running");
    expect((await worked).result).toEqual({ cancelled: true });
    expect(performance.now() - askedAt).toBeLessThan(2_000);
    const run = await test.run(key);
    expect(run).toMatchObject({ status: "cancelled", worker: null, error: null });
    expect((await test.work(job, key)).result).toEqual({ skipped: "nothing to do" });
    expect(await test.run(key)).toEqual(run);
  });

  it.each([
    { inParts: false, title: "leaves no file either" },
    { inParts: true, title: "leaves what others have made of it to whoever has the run" },
  ])("that comes when the work has just ended $title", async ({ inParts }) => {
    const key = await newRun();
    const file = { key: `${key.runId}/1`, bytes: 4 };
    const job = defineJob({
      kind: "test.run",
      queue: "exports",
      payload: runKey,
      run: (payload, context) =>
        withRun(payload, context, async ({ signal }) => {
          await context.artifacts.write(file.key, Readable.from([Buffer.from("rows")]));
          await requestCancel(test.db, key.accountId, key.runId);
          await once(signal, "abort");
          return { artifact: { segments: [file] } as Artifact, inParts };
        }),
    });
    expect((await test.work(job, key)).result).toEqual({ cancelled: true });
    expect((await test.artifacts.size(file.key)) !== undefined).toBe(inParts);
    expect(await test.run(key)).toMatchObject({ status: "cancelled", artifact: null });
  });

  it("ends a queued run at once", async () => {
    const key = await newRun();
    expect(await requestCancel(test.db, "shop", key.runId)).toMatchObject({ status: "cancelled", fence: 1 });
    expect((await test.work(buildExport, key)).result).toEqual({ skipped: "nothing to do" });
    expect(await requestCancel(test.db, "shop", key.runId)).toBeUndefined();
  });

  it("leaves the way free for a retry, which the old job does not touch", async () => {
    const key = await newRun();
    await requestCancel(test.db, "shop", key.runId);
    const again = await restartRun(test.db, "shop", key.runId);
    expect(again).toMatchObject({ status: "queued", generation: 2, attempt: 0, cancel_requested_at: null });
    expect((await test.work(buildExport, key)).result).toEqual({ skipped: "nothing to do" });
    await test.work(buildExport, { ...key, generation: 2 });
    expect((await test.run(key)).status).toBe("succeeded");
  });
});

describe("a shutdown", () => {
  it("puts the run back without spending an attempt", async () => {
    const key = await newRun();
    const { job, started } = endless();
    const shutdown = new AbortController();
    const worked = test.work(job, key, { signal: shutdown.signal });
    await started;
    const reason = new Interrupted("shutdown", "leaving");
    shutdown.abort(reason);
    await expect(worked).rejects.toBe(reason);
    expect(await test.run(key)).toMatchObject({ status: "queued", attempt: 0, error: null, worker: null });
    await test.work(buildExport, key);
    expect(await test.run(key)).toMatchObject({ status: "succeeded", attempt: 1, fence: 2 });
  });

  it("that comes after a cancel ends the run", async () => {
    const key = await newRun();
    const { job, started } = endless();
    const shutdown = new AbortController();
    const worked = test.work(job, key, { signal: shutdown.signal });
    await started;
    await requestCancel(test.db, "shop", key.runId);
    shutdown.abort(new Interrupted("shutdown", "leaving"));
    await worked.catch(() => {});
    expect((await test.run(key)).status).toBe("cancelled");
  });
});

describe("an error", () => {
  const failing = (error: unknown) => jobOf(() => Promise.reject(error));
  const attempt = async (key: RunKey, error: unknown, isLastAttempt = false) => {
    const job = { id: "test", addedAt: new Date(), isLastAttempt };
    await expect(test.work(failing(error), key, { job })).rejects.toBe(error);
    return test.run(key);
  };

  it("is tried again before the last attempt, and says nothing of its text", async () => {
    const key = await newRun();
    const queued = await attempt(key, new Error("password=hunter2"));
    expect(queued).toMatchObject({
      status: "queued",
      attempt: 1,
      error: { code: "internal_error" },
      finished_at: null,
    });
    expect(JSON.stringify(queued)).not.toContain("hunter2");
    const failed = await attempt(key, new Error("password=hunter2"), true);
    expect(failed).toMatchObject({ status: "failed", attempt: 2, error: { code: "internal_error" } });
    expect(failed.finished_at).toBeInstanceOf(Date);
  });

  it("that nothing will change fails the run at once", async () => {
    const run = await attempt(
      await newRun(),
      new PermanentJobError("no_such_thing", "There is no such thing."),
    );
    expect(run).toMatchObject({
      status: "failed",
      error: { code: "no_such_thing", message: "There is no such thing." },
    });
  });

  it("of a full disk and of a time-out have names", async () => {
    const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
    expect(await attempt(await newRun(), full)).toMatchObject({
      status: "queued",
      error: { code: "disk_full" },
    });
    const late = new Interrupted("timeout", "not finished within 1 s");
    expect(await attempt(await newRun(), late)).toMatchObject({
      status: "queued",
      error: { code: "timed_out" },
    });
  });

  it("that the queue gave up on fails an open run only", async () => {
    const key = await newRun();
    const freed: string[] = [];
    const admit = async (kind: string, accountId: string) => void freed.push(`${kind} of ${accountId}`);
    const lent = { db: test.db, log: silentLog, admit };
    await giveUpRun(key, new Error("job stalled more than allowable limit"), lent);
    expect(await test.run(key)).toMatchObject({
      status: "failed",
      error: { code: "poison" },
      parked_at: expect.any(Date),
    });
    expect(freed).toEqual(["export of shop"]);
    await giveUpRun(key, new Error("other"), lent);
    expect(await test.run(key)).toMatchObject({ status: "failed", error: { code: "poison" } });
  });
});
