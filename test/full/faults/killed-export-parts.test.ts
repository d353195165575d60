import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { segmentKeys } from "../../../src/exports/artifacts/segments.js";
import { type Installation, startInstallation } from "../../e2e/installation.js";
import { type Process, type Run, until } from "../../e2e/support.js";
import { shortLocks } from "../../faults/oracles.js";
import { queueStores } from "../../support/redis.js";

const PARTS = 20;
const PART_ROWS = 30_000;
const ROWS = PARTS * PART_ROWS;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 90_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  let service: Installation;
  let undisturbed: Run;
  beforeAll(async () => {
    service = await startInstallation({
      queues,
      // One job at a time: a worker that dies takes one part with it.
      env: { ...shortLocks, EXPORT_PART_ROWS: String(PART_ROWS), WORKER_CONCURRENCY: "1" },
      processes: ["api", "scheduler", "worker", "worker", "worker"],
    });
    await service.seedMessages(ROWS);
    undisturbed = await finished((await service.orderExport()).id);
    expect(undisturbed.artifact).toMatchObject({ rows: ROWS });
    expect(await partsOf(undisturbed.id)).toHaveLength(PARTS);
  });
  afterAll(() => service?.stop());

  const finished = (id: string) => service.api.finished(id, 60_000, "exports");

  /** The parts of a finished export: how often each of them was begun. */
  async function partsOf(id: string): Promise<number[]> {
    const { artifact } = await service.row(id);
    // The number of a claim begins anew, behind that of the run's, with every layout.
    return segmentKeys(artifact!.segments).map((key) => Number(/-(\d+)$/.exec(key)![1]) % 1_000_000);
  }

  /** An export of which so much is written, and who writes. On a busy machine we may look too late: another. */
  async function atWork(bytes: number, tries = 5): Promise<{ id: string; victim: Process }> {
    const { id } = await service.orderExport();
    const victim = await service.writerUnlessDone(id, bytes);
    if (victim !== "done") return { id, victim };
    if (tries === 1) throw new Error("every export was done before its worker could be killed");
    return atWork(bytes, tries - 1);
  }

  it.each([{ percent: 5 }, { percent: 50 }, { percent: 95 }])(
    "F01: an export in parts whose worker is killed after $percent % reads one part again at most",
    async ({ percent }) => {
      const { id, victim } = await atWork((undisturbed.artifact!.bytes * percent) / 100);
      victim.child.kill("SIGKILL");
      await victim.ended;
      await service.add("worker");
      const run = await finished(id);
      expect(run.artifact).toMatchObject({ rows: ROWS, sha256: undisturbed.artifact!.sha256 });
      const { bytes, sha256 } = undisturbed.artifact!;
      expect(await service.api.download(id, "exports")).toEqual({ status: 200, bytes, sha256 });
      const again = (await partsOf(id)).reduce((sum, begun) => sum + begun - 1, 0);
      console.info(`${queues}, ${percent} %: ${again} of ${PARTS} parts begun again`);
      expect(again).toBeLessThanOrEqual(1);
    },
  );

  it("F01: a helper that is killed costs no more than the part it was at", async () => {
    const { id } = await service.orderExport();
    const { worker } = await until("it is at work", async () => {
      const row = await service.row(id);
      return row.worker ? row : undefined;
    });
    const helper = await until("another worker helps", async () => {
      const { rows } = await service.test.pool.query<{ worker: string }>(
        "select worker from export_parts where run_id = $1 and worker <> $2 and done_at is null and heartbeat_at is not null",
        [id, worker],
      );
      return rows[0] && service.workers().find(({ pid }) => rows[0]!.worker.endsWith(`/${pid}`));
    });
    helper.child.kill("SIGKILL");
    await helper.ended;
    await service.add("worker");
    const run = await finished(id);
    expect(run).toMatchObject({ attempt: 1, artifact: { sha256: undisturbed.artifact!.sha256 } });
    expect((await partsOf(id)).reduce((sum, begun) => sum + begun - 1, 0)).toBeLessThanOrEqual(1);
  });
});
