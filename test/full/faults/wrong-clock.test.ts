import { existsSync, readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { API_KEY, type Installation, startInstallation } from "../../e2e/installation.js";
import { apiOf, type Process, type Run, until } from "../../e2e/support.js";
import { expectSame, logged, shortLocks, watchDownload } from "../../faults/oracles.js";
import { hasRedis } from "../../support/redis.js";

/** Enough work that whoever takes a living worker's job for abandoned has the time to do so. */
const ROWS = 300_000;
/** Clocks are compared every 10 s. */
const NOTICED_WITHIN_MS = 20_000;

/** In the folder of the machine's architecture. */
const faketime = readdirSync("/usr/lib")
  .map((folder) => `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`)
  .find((file) => existsSync(file));
if (!faketime) console.warn("libfaketime is not installed: wrong clocks are not tried with real processes");

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

let service: Installation;
let undisturbed: Run;
const startService = (queues: "postgres" | "redis") => async () => {
  service = await startInstallation({ queues, env: { ...shortLocks, WORKER_CONCURRENCY: "1" } });
  await service.seedMessages(ROWS);
  undisturbed = await service.api.finished((await service.orderLog()).id);
};

/** The clock of processes with this environment; `right` puts it right while they run. */
async function wrongClock(offset: string) {
  const file = join(service.dataDir, `clock${offset}`);
  await writeFile(file, offset);
  const env = {
    LD_PRELOAD: faketime!,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: "1",
    // Timers go on as they are: only the time of day is wrong. The library's versions differ in the name.
    DONT_FAKE_MONOTONIC: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    LOG_LEVEL: "info",
  };
  return { env, right: () => writeFile(file, "+0s") };
}

const skews = (process: Process) =>
  logged(process.output(), "the clock differs").map(({ skewSeconds }) => Math.round(Number(skewSeconds)));

describe.skipIf(!faketime)("with the queues in postgres", () => {
  beforeAll(startService("postgres"));
  afterAll(() => service.stop());

  it("F04: processes whose clock is wrong are not ready and take nothing until it is right", async () => {
    const [fast, slow] = [await wrongClock("+60s"), await wrongClock("-60s")];
    const wrong = [
      service.launch("worker", fast.env),
      service.launch("worker", slow.env),
      service.launch("scheduler", fast.env),
    ];
    const ready = new Set<Process>();
    for (const each of wrong) each.ready.then(() => ready.add(each)).catch(() => {});
    const server = await service.add("api", fast.env);
    const { url } = await server.ready;
    const readiness = async () => (await fetch(`${url}/analytics/health/ready`)).status;
    await until("all have seen it", () => wrong.every((each) => skews(each).length > 0));
    expect(wrong.map((each) => skews(each)[0])).toEqual([60, -60, 60]);

    const { id } = await service.orderLog();
    await watchDownload(service, id, undisturbed);
    expect(await service.row(id)).toMatchObject({ status: "succeeded", attempt: 1, fence: 1 });
    await expectSame(service, id, undisturbed);
    expect(await readiness()).toBe(503);
    expect(logged(server.output(), "not ready")).toMatchObject([{ skewSeconds: expect.closeTo(60, 0) }]);
    const { clock_skew_seconds } = await apiOf({ url, apiKey: API_KEY }).json<{
      clock_skew_seconds: number;
    }>("GET", "/analytics/diagnostics");
    expect(clock_skew_seconds).toBeCloseTo(60, 0);
    expect([...ready]).toEqual([]);
    for (const each of wrong) expect(logged(each.output(), "job ")).toEqual([]);
    expect(logged(service.process("worker").output(), "job stalled")).toEqual([]);

    // Waiting, they end as soon as they are asked to, or when nobody is left to be ready for.
    const [asked, left] = [service.launch("worker", fast.env), service.launch("worker", fast.env)];
    await until("both have seen it", () => skews(asked).length > 0 && skews(left).length > 0);
    asked.child.kill("SIGTERM");
    left.child.disconnect();
    expect(await Promise.all([asked.ended, left.ended])).toEqual([0, 0]);

    await Promise.all([fast.right(), slow.right()]);
    await until("all are ready", () => ready.size === wrong.length, { withinMs: NOTICED_WITHIN_MS });
    expect(await readiness()).toBe(200);
  });
});

describe.skipIf(!faketime || !hasRedis)("with the queues in redis", () => {
  beforeAll(startService("redis"));
  afterAll(() => service.stop());

  it("F04: workers whose clock is wrong do each report once all the same", async () => {
    const clocks = [await wrongClock("+60s"), await wrongClock("-60s")];
    const wrong = await Promise.all(clocks.map(({ env }) => service.add("worker", env)));
    const right = service.process("worker");
    const runs = await Promise.all(Array.from({ length: 4 }, () => service.orderLog()));
    for (const { id } of runs) {
      await service.api.finished(id, 60_000);
      expect(await service.row(id)).toMatchObject({ attempt: 1, fence: 1 });
      await expectSame(service, id, undisturbed);
    }
    for (const each of [...wrong, right]) expect(logged(each.output(), "job stalled")).toEqual([]);
    expect(wrong.flatMap((each) => logged(each.output(), "job done")).length).toBeGreaterThan(0);
  });
});
