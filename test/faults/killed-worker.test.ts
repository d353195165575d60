import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.js";
import { type Run, until } from "../e2e/support.js";
import { isThorough } from "../support/cases.js";
import { queueStores } from "../support/redis.js";
import { expectSame, secondsSince, watchDownload } from "./oracles.js";

const ROWS = 200_000;
/** With the settings that are shipped: the lock's 15 s, two looks for abandoned jobs of 5 s each; and a busy machine. */
const TAKEN_UP_WITHIN_SECONDS = 40;

// A worker counts as dead after 20 s or so, and a busy machine takes its time for the rest.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

describe.each(isThorough ? queueStores : ["postgres" as const])("with the queues in %s", (queues) => {
  let service: Installation;
  let undisturbed: Run;
  beforeAll(async () => {
    service = await startInstallation({ queues, processes: ["api", "scheduler", "worker", "worker"] });
    await service.seedMessages(ROWS);
    undisturbed = await service.api.finished((await service.orderLog()).id);
    expect(undisturbed).toMatchObject({ attempt: 1, artifact: { rows: ROWS } });
  });
  afterAll(() => service?.stop());

  it("F01: a report survives the death of its worker at the shipped settings: late by seconds, byte for byte the same", async () => {
    const { id } = await service.orderLog();
    const download = watchDownload(service, id, undisturbed);
    const victim = await service.writerOf(id, undisturbed.artifact!.bytes / 2);
    victim.child.kill("SIGKILL");
    const killedAt = performance.now();
    expect(await victim.ended).toBe("SIGKILL");
    await until("another worker has taken it up", async () => (await service.row(id)).attempt === 2, {
      withinMs: 60_000,
    });
    const idle = secondsSince(killedAt);
    await download;
    const all = secondsSince(killedAt);
    console.info(`${queues}: killed, taken up after ${idle.toFixed(1)} s, done after ${all.toFixed(1)} s`);

    await expectSame(service, id, undisturbed);
    expect((await service.api.run(id)).attempt).toBe(2);
    // How long the second attempt takes is up to who else uses the processors.
    expect(idle).toBeLessThan(TAKEN_UP_WITHIN_SECONDS);
  });
});
