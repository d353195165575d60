import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.js";
import { type Process, type Run, until } from "../e2e/support.js";
import { queueStores } from "../support/redis.js";
import { expectSame, logged, shortLocks, watchDownload } from "./oracles.js";

const ROWS = 150_000;

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  let service: Installation;
  let undisturbed: Run;
  beforeAll(async () => {
    service = await startInstallation({
      queues,
      env: shortLocks,
      processes: ["api", "scheduler", "worker", "worker"],
    });
    await service.seedMessages(ROWS);
    undisturbed = await service.api.finished((await service.orderLog()).id);
  });
  afterAll(() => service?.stop());

  /** Lets another worker finish the report, wakes the frozen one, and sees it leave everything as it is. */
  async function outlive(zombie: Process, id: string, download: Promise<unknown>): Promise<void> {
    await download;
    const published = await service.row(id);
    expect(published).toMatchObject({ status: "succeeded", attempt: 2, fence: 2 });
    const fenced = () => logged(zombie.output(), "fenced:").filter(({ runId }) => runId === id);
    expect(fenced()).toEqual([]);
    zombie.child.kill("SIGCONT");
    await until("the zombie has noticed", () => fenced().length > 0);
    await until("its file is gone", async () => (await service.filesOf(id)).join() === "2");
    expect(fenced()).toMatchObject([{ fence: 1 }]);
    expect(await service.row(id)).toEqual(published);
    await expectSame(service, id, undisturbed);
    // It is a worker like any other again.
    expect(zombie.child.exitCode).toBeNull();
  }

  it("F03: a worker that was frozen in the middle of its file finds itself replaced", async () => {
    const { id } = await service.orderLog();
    const download = watchDownload(service, id, undisturbed);
    const zombie = await service.writerOf(id, undisturbed.artifact!.bytes / 2);
    zombie.child.kill("SIGSTOP");
    await outlive(zombie, id, download);
  });

  it("F03: a worker that was frozen when it was about to publish publishes nothing", async () => {
    const { id } = await service.orderLog();
    const download = watchDownload(service, id, undisturbed);
    const zombie = await service.writerOf(id, 1);
    const lock = await service.test.pool.connect();
    await lock.query("begin");
    await lock.query("select from runs where run_id = $1 for update", [id]);
    // Its heartbeat is overdue when it goes on, and waits for the row; so the statement that publishes is not sent yet
    // when the file is finished.
    zombie.child.kill("SIGSTOP");
    await until("a heartbeat is overdue", async () => {
      const age = await lock.query(
        "select clock_timestamp() - heartbeat_at > interval '1.1 s' as over from runs where run_id = $1",
        [id],
      );
      return age.rows[0].over;
    });
    zombie.child.kill("SIGCONT");
    await until("the file is there", async () => (await service.filesOf(id)).includes("1"));
    zombie.child.kill("SIGSTOP");
    await lock.query("rollback");
    lock.release();
    expect(await service.row(id)).toMatchObject({ status: "running", fence: 1 });
    await outlive(zombie, id, download);
  });
});
