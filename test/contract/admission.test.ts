import { beforeAll, beforeEach, expect, it } from "vitest";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { claimRun, type RunKey, runJobId } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { sweepRuns } from "../../src/jobs/sweep-runs.js";
import { withRun } from "../../src/jobs/with-run.js";
import { holdPausedQueues } from "../../src/workers/presence.js";
import { MAX_STALLS } from "../../src/workers/start-workers.js";
import { call } from "../support/app.js";
import { seedRange } from "../support/work.js";
import { contract, gate } from "./contract.js";

contract("admission", (on) => {
  beforeAll(() => ensureAccounts(on.app().context.db, ["a", "b"]));
  beforeEach(() => on.app().context.pool.query("truncate runs; truncate workers"));

  const send = async (method: string, path: string, body?: unknown) => {
    const reply = await call(on.app().url, method, path, { key: on.app().adminKey, body });
    expect(reply.status).toBeLessThan(300);
    return reply.json;
  };
  const order = async (account: string): Promise<RunKey> => {
    const body = { account_id: account, dataset: "messages", format: "csv", ...seedRange };
    const { id } = await send("POST", "/analytics/exports", body);
    return { accountId: account, runId: id, generation: 1 };
  };
  const orderMany = (account: string, count: number) =>
    Promise.all(Array.from({ length: count }, () => order(account)));
  const waiting = async () => (await on.queue("exports").getJobCounts("waiting")) as object;

  /** Notes in which order runs are started. */
  function noted(work: () => Promise<void> = async () => {}) {
    const started: string[] = [];
    const definition = {
      ...buildExport,
      run: (key: RunKey, context: JobContext) =>
        withRun(key, context, async () => {
          started.push(key.accountId);
          await work();
          return {};
        }),
    };
    return { definition, started };
  }

  it("starts one account's export after those of another that are admitted already, not after all that wait", async () => {
    const [first, mayEnd] = [gate(), gate()];
    const { definition, started } = noted(() => {
      first.open();
      return mayEnd.opened;
    });
    const workers = [await on.start([definition]), await on.start([definition])];
    await orderMany("a", 50);
    await first.opened;
    const { rows } = await on
      .app()
      .context.pool.query("select count(*)::int as n from runs where enqueued_at is not null");
    // Two slots, and one more that waits for them.
    expect(rows).toEqual([{ n: 3 }]);
    const b = await order("b");
    expect((await send("GET", `/analytics/exports/${b.runId}`)).progress.queue_position).toBeLessThanOrEqual(
      3,
    );
    mayEnd.open();
    await expect.poll(() => started.length, { timeout: 20_000 }).toBe(51);
    expect(started.indexOf("b")).toBeLessThanOrEqual(3);
    expect(workers.flatMap(({ ends }) => ends)).not.toContain("failed");
  });

  it("starts a run on an idle system at once, without a sweep", async () => {
    const { definition, started } = noted();
    await on.start([definition]);
    for (const account of ["a", "b", "a"]) await order(account);
    await expect.poll(() => started.length, { timeout: 20_000 }).toBe(3);
  });

  it("goes on where a process died between the admission and the enqueue, or before both", async () => {
    const [lost, waits] = [await order("a"), await order("b")];
    const { context } = on.app();
    await context.queues.remove("exports", runJobId(lost));
    expect(await waiting()).toMatchObject({ waiting: 0 });
    const { definition, started } = noted();
    const { drain } = await on.start([definition]);
    // A worker that comes looks for what waits; what was admitted is the sweep's to find.
    await context.pool.query("update runs set enqueued_at = now() - interval '1 minute' where run_id = $1", [
      lost.runId,
    ]);

    await sweepRuns.run({}, on.lent());
    await expect.poll(() => [...started].sort(), { timeout: 20_000 }).toEqual(["a", "b"]);
    await drain(1_000);
    expect(await claimRun(context.db, waits, "late")).toBeUndefined();
  });

  it("waits again when the queues are away, and is admitted when they are back", async () => {
    await on.away();
    const key = await order("a");
    const { pool } = on.app().context;
    const { rows } = await pool.query("select enqueued_at from runs where run_id = $1", [key.runId]);
    expect(rows).toEqual([{ enqueued_at: null }]);
    await on.back();
    await on.app().context.admission.admitAll();
    expect(await on.app().context.queues.stateOf("exports", runJobId(key))).toBe("waiting");
    const { definition, started } = noted();
    await on.start([definition]);
    await expect.poll(() => started, { timeout: 20_000 }).toEqual(["a"]);
  });

  it("takes nothing from a paused queue, in no process and after the queue was lost, until it is resumed", async () => {
    const { context } = on.app();
    const first = await order("a");
    expect(await send("POST", "/analytics/admin/queues/exports/pause")).toMatchObject({ paused: true });
    const { definition, started } = noted();
    await on.start([definition]);
    const second = await order("b");
    const dead = await on.startDead({ lockMs: 1_000, queue: "exports" });
    expect(await dead.finds()).toBeUndefined();
    expect(started).toEqual([]);
    const { rows } = await context.pool.query("select enqueued_at from runs where run_id = $1", [
      second.runId,
    ]);
    expect(rows).toEqual([{ enqueued_at: null }]);
    // Whoever lost the queue, or resumed it without the API, has it paused again by the next worker that looks.
    await on.queue("exports").resume();
    await holdPausedQueues(context);
    expect(await on.queue("exports").isPaused()).toBe(true);
    expect((await send("GET", "/analytics/diagnostics")).paused_queues).toMatchObject([{ queue: "exports" }]);
    // Other queues go on.
    expect(await on.queue("reports").isPaused()).toBe(false);

    expect(await send("POST", "/analytics/admin/queues/exports/resume")).toEqual({
      queue: "exports",
      paused: false,
    });
    const done = () => send("GET", `/analytics/exports/${first.runId}`);
    await on.idle("exports");
    await expect.poll(async () => (await done()).status).not.toBe("queued");
  });

  it("parks a run that keeps killing its worker, and starts it again when an operator says so", async () => {
    const { context } = on.app();
    const key = await order("a");
    const dead = await on.startDead({ lockMs: 60, queue: "exports" });
    await dead.watchForStalls();
    for (let death = 0; death <= MAX_STALLS; death++) {
      await dead.take();
      await claimRun(context.db, key, `worker ${death}`);
      await expect
        .poll(() => context.queues.stateOf("exports", runJobId(key)), { interval: 10, timeout: 5_000 })
        .toBe("waiting");
    }
    const { definition, started } = noted();
    await on.start([definition]);
    const parked = async () => (await send("GET", "/analytics/admin/parked")).data;
    await expect.poll(async () => (await parked()).length, { timeout: 10_000 }).toBe(1);
    expect(await parked()).toMatchObject([
      {
        ...{ id: key.runId, kind: "export", account_id: "a", attempt: MAX_STALLS + 1 },
        ...{ worker: `worker ${MAX_STALLS}`, error: { code: "poison" } },
        last_heartbeat_at: expect.stringMatching(/Z$/),
      },
    ]);
    const run = await send("GET", `/analytics/exports/${key.runId}`);
    expect([run.status, run.links.retry]).toEqual(["failed", undefined]);
    const retry = await call(on.app().url, "POST", `/analytics/exports/${key.runId}/retry`, {
      key: on.app().adminKey,
    });
    expect([retry.status, retry.json.code]).toEqual([409, "run_parked"]);
    // Nor does Bull Board's retry: the run is not the job's to do any more.
    expect(await context.queues.stateOf("exports", runJobId(key))).toBe("failed");
    expect(started).toEqual([]);

    expect(await send("POST", "/analytics/admin/parked/redrive", { kind: "export" })).toEqual({
      redriven: [key.runId],
      has_more: false,
    });
    await expect.poll(() => started, { timeout: 10_000 }).toEqual(["a"]);
    expect(await parked()).toEqual([]);
    expect(await context.queues.stateOf("exports", runJobId(key))).toBe("unknown");
  });
});
