import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { segmentKeys } from "../../../src/exports/artifacts/segments.js";
import { type Installation, startInstallation } from "../../e2e/installation.js";
import { type Run, until } from "../../e2e/support.js";
import { type HalfOpenProxy, startHalfOpenProxy } from "../../support/half-open-proxy.js";
import { queueStores } from "../../support/redis.js";

const ROWS = 300_000;
const PART_ROWS = 30_000;
/** A dead connection is found within 11 s, a dead worker's job within 25; the rest is the work, and a busy machine. */
const DONE_WITHIN_MS = 90_000;

vi.setConfig({ testTimeout: 240_000, hookTimeout: 90_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  /** By what they lead to. */
  const proxies = new Map<string, HalfOpenProxy>();
  let service: Installation;
  let report: Run;
  let file: Run;
  beforeAll(async () => {
    service = await startInstallation({
      queues,
      processes: ["api", "scheduler", "worker", "worker"],
      env: { EXPORT_PART_ROWS: String(PART_ROWS) },
      async through(url) {
        const { protocol, port } = new URL(url);
        const proxy = await startHalfOpenProxy(Number(port));
        proxies.set(protocol, proxy);
        return url.replace(`:${port}`, `:${proxy.port}`);
      },
    });
    await service.seedMessages(ROWS);
    [report, file] = [await service.orderLog(), await service.orderExport()];
    report = await service.api.finished(report.id);
    file = await service.api.finished(file.id, 30_000, "exports");
  });
  afterAll(async () => {
    await service?.stop();
    for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
  });

  /** From the database, to which the test has a connection of its own. */
  const done = async (id: string) => {
    const row = await until(
      `${id} has ended`,
      async () => {
        const found = await service.row(id);
        return !["queued", "running"].includes(found.status) && found;
      },
      { withinMs: DONE_WITHIN_MS },
    );
    expect(row).toMatchObject({ status: "succeeded", error: null });
    return row;
  };

  /** Both runs have ended well, what they made is what was made undisturbed, and nothing else is left of them. */
  async function expectBoth(ids: readonly string[]): Promise<void> {
    for (const [index, undisturbed] of [report, file].entries()) {
      const id = ids[index]!;
      const { artifact } = await done(id);
      const { bytes, rows, sha256 } = undisturbed.artifact!;
      expect(artifact).toMatchObject({ bytes, rows, sha256 });
      await service.sweepAgedFiles(id);
      const kept = segmentKeys(artifact!.segments).map((key) => key.split("/")[1]);
      expect((await service.filesOf(id)).sort()).toEqual(kept.sort());
    }
    const { rows } = await service.test.pool.query(
      "select run_id from runs where status in ('queued', 'running') union select run_id from export_parts where done_at is null",
    );
    expect(rows).toEqual([]);
  }

  /** A report and an export whose connections, `halted` of them, go dead when a tenth of each is written. */
  async function haltAtWork(proxy: HalfOpenProxy) {
    const ids = [(await service.orderLog()).id, (await service.orderExport()).id];
    for (const [index, { artifact }] of [report, file].entries())
      await service.writerOf(ids[index]!, artifact!.bytes / 10);
    return { ids, halted: proxy.halt() };
  }

  const toDatabase = () => proxies.get("postgresql:") ?? proxies.get("postgres:")!;

  it.each(queues === "redis" ? ["postgres", "redis"] : ["postgres"])(
    "F13: connections to %s that go dead without an end hold nothing up, nor do those that come back",
    async (name) => {
      const proxy = name === "redis" ? proxies.get("redis:")! : toDatabase();
      const { ids, halted } = await haltAtWork(proxy);
      const haltedAt = performance.now();
      const taken = () => `${((performance.now() - haltedAt) / 1000).toFixed(1)} s`;
      await Promise.all(ids.map(done));
      const ended = taken();
      // The API is as well as before, and so are the workers.
      const next = await until("a new run is accepted", () => service.orderLog().catch(() => undefined), {
        withinMs: DONE_WITHIN_MS,
      });
      await done(next.id);
      console.info(
        `${queues}, ${halted} connections to ${name}: done after ${ended}, the next one after ${taken()}`,
      );
      await expectBoth(ids);
      proxy.resume();
      const last = await service.orderLog();
      await done(last.id);
      await expectBoth(ids);
    },
  );

  it("F13: what dead connections to PostgreSQL still bring while their runs are at work again changes nothing", async () => {
    const sessions = async () => {
      const { rows } = await service.test.pool.query<{ pid: number }>(
        "select pid from pg_stat_activity where application_name like 'worker%'",
      );
      return rows.map(({ pid }) => pid);
    };
    const proxy = toDatabase();
    const { ids } = await haltAtWork(proxy);
    const before = await sessions();
    await until("one is found dead", async () => {
      const left = await sessions();
      return before.some((pid) => !left.includes(pid));
    });
    proxy.resume();
    await Promise.all(ids.map(done));
    await expectBoth(ids);
  });
});
