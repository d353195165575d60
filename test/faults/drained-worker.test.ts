import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.js";
import { type Process, type Run, until } from "../e2e/support.js";
import { queueStores } from "../support/redis.js";
import { expectSame, logged, secondsSince, shortLocks, watchDownload } from "./oracles.js";

const ROWS = 200_000;
/** Too short for the rest of such a file. */
const SHORT_GRACE_MS = 100;
/** On top of the grace: the job lets go, and connections are closed. */
const HAND_BACK_SECONDS = 15;
/** A lock that was not given back would last for longer. */
const RESUMED_WITHIN_SECONDS = 12;

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  let service: Installation;
  let undisturbed: Run;
  const workers: Process[] = [];
  beforeAll(async () => {
    service = await startInstallation({ queues, env: shortLocks, processes: ["api", "scheduler"] });
    await service.seedMessages(ROWS);
  });
  afterAll(() => service?.stop());

  const add = async (graceMs: number) => {
    const worker = await service.add("worker", { SHUTDOWN_GRACE_MS: String(graceMs), LOG_LEVEL: "info" });
    workers.push(worker);
    return worker;
  };
  const stalls = () => workers.flatMap((worker) => logged(worker.output(), "job stalled"));

  it("F06: a worker that is asked to stop finishes a report that fits into its grace", async () => {
    const worker = await add(30_000);
    undisturbed = await service.api.finished((await service.orderLog()).id);
    const { id } = await service.orderLog();
    const download = watchDownload(service, id, undisturbed);
    expect(await service.writerOf(id, undisturbed.artifact!.bytes / 10)).toBe(worker);
    worker.child.kill("SIGTERM");
    expect(await worker.ended).toBe(0);
    // Nobody else was there to do it.
    await download;
    expect(await service.row(id)).toMatchObject({ attempt: 1, fence: 1 });
    await expectSame(service, id, undisturbed);
    expect(stalls()).toEqual([]);
  });

  it("F06: a report that does not fit is handed back, and another worker resumes it without a lost attempt", async () => {
    const leaving = await add(SHORT_GRACE_MS);
    const { id } = await service.orderLog();
    const download = watchDownload(service, id, undisturbed);
    await service.writerOf(id, undisturbed.artifact!.bytes / 10);
    leaving.child.kill("SIGTERM");
    const askedAt = performance.now();
    const sinceGrace = () => secondsSince(askedAt) - SHORT_GRACE_MS / 1000;
    const ended = leaving.ended.then(sinceGrace);
    const other = await add(30_000);
    const readyAt = Math.max(0, sinceGrace());
    await until("the other has taken it up", async () => (await service.row(id)).fence === 2, {
      everyMs: 10,
    });
    const resumed = sinceGrace() - readyAt;
    expect(await leaving.ended).toBe(0);
    console.info(
      `${queues}: after the grace, ended in ${(await ended).toFixed(2)} s; resumed ${resumed.toFixed(2)} s after it could be`,
    );
    expect(resumed).toBeLessThan(RESUMED_WITHIN_SECONDS);
    expect(await ended).toBeLessThan(HAND_BACK_SECONDS);
    await download;
    expect(await service.row(id)).toMatchObject({ attempt: 1, fence: 2 });
    expect(logged(leaving.output(), "job handed_back").filter(({ runId }) => runId === id)).toHaveLength(1);
    expect(logged(other.output(), "job done").filter(({ runId }) => runId === id)).toHaveLength(1);
    expect(stalls()).toEqual([]);
    await expectSame(service, id, undisturbed);
    expect(await service.filesOf(id)).toEqual(["2"]);
  });
});
