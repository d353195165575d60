import { beforeAll, beforeEach, expect, it } from "vitest";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import {
  claimRun,
  insertRun,
  markEnqueued,
  type RunKey,
  requestCancel,
  runJobId,
} from "../../src/db/queries/runs.js";
import { PermanentJobError } from "../../src/errors.js";
import { buildReport } from "../../src/jobs/build-report.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { sweepRuns } from "../../src/jobs/sweep-runs.js";
import { withRun } from "../../src/jobs/with-run.js";
import { contract, gate } from "./contract.js";

contract("the sweep of runs", ({ app, enqueue, start, lent, queue, idle }) => {
  beforeAll(() => ensureAccounts(app().context.db, ["shop"]));
  beforeEach(() => app().context.pool.query("truncate runs"));

  const newRun = async (): Promise<RunKey> => {
    const run = await insertRun(app().context.db, {
      accountId: "shop",
      kind: "report",
      priority: "interactive",
      params: {},
      requestedBy: "test",
      maxWaiting: 100,
    });
    const key = { accountId: "shop", runId: run!.run_id, generation: run!.generation };
    // As one is whose process died, or whose queue lost it, after it was admitted.
    await markEnqueued(app().context.db, key);
    return key;
  };
  const enqueueRun = (key: RunKey) => enqueue(reports, key, { id: runJobId(key) });
  const statusOf = async (key: RunKey) =>
    (await app().context.pool.query("select status, error, attempt from runs where run_id = $1", [key.runId]))
      .rows[0];
  const stateOf = (key: RunKey) => app().context.queues.stateOf("reports", runJobId(key));

  /** Does nothing but claim its run and end it. */
  const reports = {
    ...buildReport,
    run: (key: RunKey, context: JobContext) => withRun(key, context, async () => ({})),
  };
  /** Leaves its run's row as it is, as somebody does who was cut off from the database at the end. */
  const leaving = (end: () => Promise<Record<string, unknown>>) => ({
    ...reports,
    run: end,
    onGivenUp: undefined,
  });

  /** A minute after everything that happened until now. */
  const sweep = async () => {
    await app().context.pool.query(
      `update runs set created_at = created_at - interval '1 minute', enqueued_at = enqueued_at - interval '1 minute',
                       heartbeat_at = heartbeat_at - interval '1 minute'`,
    );
    return sweepRuns.run({}, lent());
  };
  const work = async (definition: typeof reports) => {
    const worker = await start([definition]);
    await idle("reports");
    await worker.drain(1_000);
  };
  const nothing = { left: 0, enqueued: 0, failed: 0, cancelled: 0 };

  it("asks again for what the queue does not know, once", async () => {
    const [queued, running] = [await newRun(), await newRun()];
    await claimRun(app().context.db, running, "gone");
    expect(await sweep()).toEqual({ ...nothing, enqueued: 2 });
    expect(await sweep()).toEqual({ ...nothing, left: 2 });
    await work(reports);
    expect(await statusOf(queued)).toMatchObject({ status: "succeeded", attempt: 1 });
    expect(await statusOf(running)).toMatchObject({ status: "succeeded", attempt: 2 });
    expect(await sweep()).toEqual(nothing);
  });

  it("leaves alone what waits, runs or is to be tried again", async () => {
    const [runs, delayed, waits] = [await newRun(), await newRun(), await newRun()];
    const [started, mayEnd] = [gate(), gate()];
    const slow = leaving(async () => {
      started.open();
      await mayEnd.opened;
      return {};
    });
    await enqueueRun(runs);
    const worker = await start([slow]);
    await started.opened;
    await enqueueRun(waits);
    await enqueue(reports, delayed, { id: runJobId(delayed), delayMs: 3_600_000 });
    const states = () => Promise.all([runs, delayed, waits].map(stateOf));
    expect(await states()).toEqual(["active", "delayed", "waiting"]);
    expect(await sweep()).toEqual({ ...nothing, left: 3 });
    expect(await states()).toEqual(["active", "delayed", "waiting"]);
    mayEnd.open();
    await (await queue("reports").getJob(runJobId(delayed)))!.promote();
    await idle("reports");
    await worker.drain(1_000);
  });

  it("asks again for an open run whose job the queue counts as done", async () => {
    const key = await newRun();
    await enqueueRun(key);
    await work(leaving(async () => ({})));
    expect(await stateOf(key)).toBe("completed");
    expect(await statusOf(key)).toMatchObject({ status: "queued" });
    expect(await sweep()).toEqual({ ...nothing, enqueued: 1 });
    await work(reports);
    expect(await statusOf(key)).toMatchObject({ status: "succeeded", attempt: 1 });
  });

  it("fails an open run whose job the queue has given up", async () => {
    const key = await newRun();
    await enqueueRun(key);
    await work(leaving(() => Promise.reject(new PermanentJobError("gone", "It is gone."))));
    expect(await stateOf(key)).toBe("failed");
    expect(await statusOf(key)).toMatchObject({ status: "queued" });
    expect(await sweep()).toEqual({ ...nothing, failed: 1 });
    expect(await statusOf(key)).toMatchObject({ status: "failed", error: { code: "abandoned" } });
    expect(await sweep()).toEqual(nothing);
  });

  it("ends a run that was cancelled while its worker died, and asks for no work", async () => {
    const key = await newRun();
    await claimRun(app().context.db, key, "gone");
    expect((await requestCancel(app().context.db, "shop", key.runId))?.status).toBe("running");
    expect(await sweep()).toEqual({ ...nothing, cancelled: 1 });
    expect(await statusOf(key)).toMatchObject({ status: "cancelled" });
    expect(await stateOf(key)).toBe("unknown");
  });
});
