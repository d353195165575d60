import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { ACCOUNT, type Installation, startInstallation } from "../../e2e/installation.js";
import { type Process, type Run, until } from "../../e2e/support.js";
import { logged, shortLocks } from "../../faults/oracles.js";
import { queueStores } from "../../support/redis.js";

/** What docs/operations.md promises. */
const STARTS_OF_A_POISON_JOB = 5;
/** Whoever had to wait for a dead worker's job would wait for its lock, 2 s here. */
const UNDISTURBED_START_MS = 1_000;
const WORKERS = 3;

vi.setConfig({ testTimeout: 180_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  /** An installation whose workers are deadly, and replaced as a supervisor would. */
  async function startDeadly(
    env: Record<string, string> = {},
  ): Promise<{ service: Installation; deaths: string[] }> {
    const workerFile = join(import.meta.dirname, "../../faults/fixtures/deadly-worker.mjs");
    const service = await startInstallation({
      queues,
      workerFile,
      env: { ...shortLocks, ...env },
      processes: ["api", "scheduler"],
    });
    const deaths: string[] = [];
    let stopping = false;
    const keep = async () => {
      // It may take the job, and die of it, before it has said that it is ready.
      const worker: Process = service.launch("worker");
      worker.ready.catch(() => {});
      void worker.ended.then((how) => {
        if (stopping) return;
        deaths.push(String(how));
        replacements.push(keep());
      });
      await Promise.race([worker.ready.catch(() => {}), worker.ended]);
    };
    const replacements: Promise<void>[] = [];
    onTestFinished(async () => {
      stopping = true;
      await Promise.all(replacements);
      await service.stop();
    });
    await Promise.all(Array.from({ length: WORKERS }, keep));
    return { service, deaths };
  }

  const ended = (service: Installation, { links }: Run) =>
    until(
      "the poison run has ended",
      async () => {
        const run = await service.api.json<Run>("GET", links.self);
        return ["succeeded", "failed", "cancelled"].includes(run.status) && run;
      },
      { withinMs: 120_000 },
    );

  /** Runs reports one after the other until `isOver`, at least some. Milliseconds from order to start, sorted. */
  async function startDelays(service: Installation, isOver: () => boolean): Promise<number[]> {
    const delays: number[] = [];
    while (!isOver() || delays.length < 20) {
      const { id } = await service.api.finished((await service.orderLog("ndjson")).id);
      const { created_at, started_at } = await service.row(id);
      delays.push(started_at!.getTime() - created_at.getTime());
    }
    return delays.sort((a, b) => a - b);
  }
  const p95 = (sorted: readonly number[]) => sorted[Math.ceil(sorted.length * 0.95) - 1]!;

  it("F02: a job that always kills its worker is given up as poison after exactly 5 starts, and nobody waits for it", async () => {
    const { service, deaths } = await startDeadly();
    await service.seedMessages(100);
    const before = p95(await startDelays(service, () => true));

    const poison = await service.api.json<Run>("POST", "/analytics/aggregations", {
      account_id: ACCOUNT,
      action: "verify",
    });
    let over = false;
    const end = ended(service, poison).finally(() => {
      over = true;
    });
    const during = p95(await startDelays(service, () => over));
    expect(await end).toMatchObject({
      status: "failed",
      attempt: STARTS_OF_A_POISON_JOB,
      error: { code: "poison" },
    });
    expect(deaths).toEqual(Array(STARTS_OF_A_POISON_JOB).fill("SIGKILL"));
    console.info(`${queues}: p95 of the start delay ${before} ms, and ${during} ms beside a poison job`);
    expect(during).toBeLessThan(Math.max(2 * before, UNDISTURBED_START_MS));
  });

  it("F45: a job that takes all memory ends its worker, is given up as poison, and the service stays up", async () => {
    const { service, deaths } = await startDeadly({ NODE_OPTIONS: "--max-old-space-size=80" });
    await service.seedMessages(100);
    const poison = await service.orderExport();
    let over = false;
    const end = ended(service, poison).finally(() => {
      over = true;
    });
    const delays = await startDelays(service, () => over);
    expect(await end).toMatchObject({
      status: "failed",
      attempt: STARTS_OF_A_POISON_JOB,
      error: { code: "poison" },
    });
    expect(deaths).toEqual(Array(STARTS_OF_A_POISON_JOB).fill("SIGABRT"));
    expect(logged(service.process("api").output(), "unexpected error")).toEqual([]);
    console.info(`${queues}: ${delays.length} reports beside it, p95 of the start delay ${p95(delays)} ms`);
    expect(await service.filesOf(poison.id)).toEqual([]);
  });
});
