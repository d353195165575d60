import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { claimRun, type RunKey, runJobId } from "../../src/db/queries/runs.js";
import type { JobState } from "../../src/jobs/define-job.js";
import { sweepRuns } from "../../src/jobs/sweep-runs.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());
beforeEach(() => test.pool.query("truncate runs"));

/** A run that has shown no sign of life for a minute. */
async function idleRun(kind: "report" | "export" | "aggregation" = "report"): Promise<RunKey> {
  const key = await test.insertRun(kind, "shop", {});
  await age(key);
  return key;
}
const age = (key: RunKey) =>
  test.pool.query(
    `update runs set created_at = now() - interval '1 minute', enqueued_at = now() - interval '1 minute',
       heartbeat_at = case when heartbeat_at is not null then now() - interval '1 minute' end where run_id = $1`,
    [key.runId],
  );

const sweep = (states: Record<string, JobState> = {}) =>
  test.work(sweepRuns, {}, { stateOf: async (_queue, id) => states[id] ?? "unknown" });

/** What it does with each state of a job is in the contract of the queues. */
describe("the sweep of runs", () => {
  it("adds the jobs that the queue has lost, each under its own id, and then has nothing to do", async () => {
    const [report, exported] = [await idleRun(), await idleRun("export")];
    const crashed = await idleRun("aggregation");
    await claimRun(test.db, crashed, "gone");
    await age(crashed);
    const fresh = await test.insertRun("report", "shop", {});
    const { result, enqueued } = await sweep();
    expect(result).toEqual({ left: 0, enqueued: 3, failed: 0, cancelled: 0 });
    const asked = enqueued.map(
      ({ kind, payload, options }) => `${kind} ${(payload as RunKey).runId} ${options?.id}`,
    );
    expect(asked.sort()).toEqual(
      [
        `reports.build ${report.runId} ${runJobId(report)}`,
        `exports.build ${exported.runId} ${runJobId(exported)}`,
        `rollups.aggregate ${crashed.runId} ${runJobId(crashed)}`,
      ].sort(),
    );
    expect((await test.run(fresh)).status).toBe("queued");
    expect((await test.run(report)).status).toBe("queued");
    // The one that runs keeps its old heartbeat until somebody claims it; its job is known by now.
    const again = await sweep({ [runJobId(crashed)]: "waiting" });
    expect(again).toEqual({ result: { left: 1, enqueued: 0, failed: 0, cancelled: 0 }, enqueued: [] });
  });

  it("asks nothing about a run that waits to be admitted, and has what waits admitted", async () => {
    await test.insertRun("report", "shop", {});
    await test.pool.query("update runs set created_at = now() - interval '1 day'");
    let looked = 0;
    const { result, enqueued } = await test.work(
      sweepRuns,
      {},
      {
        admitAll: async () => {
          looked++;
        },
      },
    );
    expect(result).toEqual({ left: 0, enqueued: 0, failed: 0, cancelled: 0 });
    expect([enqueued, looked]).toEqual([[], 1]);
  });
});
