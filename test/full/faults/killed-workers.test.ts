import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../../e2e/installation.js";
import { type Process, type Run, until } from "../../e2e/support.js";
import { expectSame, secondsSince, shortLocks, watchDownload } from "../../faults/oracles.js";
import { queueStores } from "../../support/redis.js";

/** Enough for a second of work, so that a share of it can be met. */
const ROWS = 300_000;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  let service: Installation;
  let undisturbed: Run;
  beforeAll(async () => {
    service = await startInstallation({
      queues,
      // One stream; parts have tests of their own.
      env: { ...shortLocks, EXPORT_PART_ROWS: String(ROWS) },
      processes: ["api", "scheduler", "worker", "worker"],
    });
    await service.seedMessages(ROWS);
    undisturbed = await service.api.finished((await service.orderLog()).id);
    expect(undisturbed).toMatchObject({ attempt: 1, artifact: { rows: ROWS } });
  });
  afterAll(() => service?.stop());

  /** Kills the worker once it has written this share of the file, and has another in its place; undefined: it was done. */
  async function killAt(id: string, share: number): Promise<Process | undefined> {
    const victim = await service.writerUnlessDone(id, undisturbed.artifact!.bytes * share);
    if (victim === "done") return undefined;
    victim.child.kill("SIGKILL");
    await victim.ended;
    await service.add("worker");
    return victim;
  }

  /** A report whose workers were killed at this share, and what watches it. On a busy machine we may look too late: another. */
  async function orderAndKill(
    share: number,
    deaths: number,
    tries = 5,
  ): Promise<{ id: string; download: ReturnType<typeof watchDownload>; victims: Set<number> }> {
    const { id } = await service.orderLog();
    const download = watchDownload(service, id, undisturbed);
    const victims = new Set<number>();
    for (let death = 1; death <= deaths; death++) {
      await until("it is at work", async () => (await service.row(id)).fence === death);
      const victim = await killAt(id, share);
      if (!victim) {
        if (tries === 1) throw new Error("every report was done before its worker could be killed");
        return orderAndKill(share, deaths, tries - 1);
      }
      victims.add(victim.pid);
    }
    return { id, download, victims };
  }

  it.each([{ percent: 5 }, { percent: 50 }, { percent: 95 }])(
    "F01: a report whose worker is killed after $percent % of the file ends as if nothing had been",
    async ({ percent }) => {
      const { id, download } = await orderAndKill(percent / 100, 1);
      const killedAt = performance.now();
      await until("another worker has taken it up", async () => (await service.row(id)).attempt === 2);
      const idle = secondsSince(killedAt);
      await download;
      const all = secondsSince(killedAt);
      console.info(
        `${queues}, ${percent} %: taken up after ${idle.toFixed(1)} s, done after ${all.toFixed(1)} s`,
      );
      await expectSame(service, id, undisturbed);
      expect((await service.api.run(id)).attempt).toBe(2);

      expect((await service.filesOf(id)).sort()).toEqual(["1.part", "2"]);
      await service.sweepAgedFiles(id);
      expect(await service.filesOf(id)).toEqual(["2"]);
      await expectSame(service, id, undisturbed);
    },
  );

  it.each([2, 3])("F02: a report survives %d deaths of its worker", async (deaths) => {
    const { id, download, victims } = await orderAndKill(0.3, deaths);
    await download;
    expect(victims.size).toBe(deaths);
    await expectSame(service, id, undisturbed);
    expect((await service.api.run(id)).attempt).toBe(deaths + 1);
  });
});
