import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { API_KEY, type Installation, startInstallation } from "../../e2e/installation.js";
import { type Run, until } from "../../e2e/support.js";
import { hasRedis } from "../../support/redis.js";
import { ingestFaults, longest, startLoad } from "./load.js";

const ROWS = 20_000;
const CLIENTS = 20;
const AWAY_MS = 10_000;
/** An add waits for the queue for a second; the rest is a busy machine. */
const ACCEPTED_WITHIN_MS = 15_000;

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });

let service: Installation;
beforeAll(async () => {
  if (!hasRedis) return;
  service = await startInstallation({
    queues: "redis",
    redis: { appendonly: "yes", appendfsync: "everysec" },
    env: { WORKER_CONCURRENCY: "1" },
  });
  await service.seedMessages(ROWS);
});
afterAll(() => service?.stop());

it.skipIf(!hasRedis)(
  "F08: Redis killed under load and back after 10 s loses nothing and refuses nothing",
  async () => {
    const { api, test } = service;
    const { url } = await service.process("api").ready;
    const load = startLoad({ url, apiKey: API_KEY }, CLIENTS);
    const runs: Run[] = [];
    const accepted: number[] = [];
    const order = async () => {
      const at = performance.now();
      runs.push(await service.orderLog());
      accepted.push(performance.now() - at);
    };
    for (let n = 0; n < 20; n++) await order();
    await until("a report is at work", async () => {
      const { rows } = await test.pool.query("select from runs where status = 'running'");
      return rows.length > 0;
    });
    await service.redis.kill();
    const killedAt = performance.now();
    for (let n = 0; n < 10; n++) await Promise.all([order(), order()]);
    await delay(Math.max(0, AWAY_MS - (performance.now() - killedAt)));
    const awayMs = performance.now() - killedAt;
    await service.redis.restart();
    const backAt = performance.now();
    const ended = await Promise.all(runs.map(({ id }) => api.finished(id, 120_000)));
    const drainedMs = performance.now() - backAt;
    await load.stop();
    console.info(
      `${load.sent.length} events, longest ${longest(load.sent) | 0} ms; ${runs.length} reports, slowest accepted in ` +
        `${Math.max(...accepted) | 0} ms; away ${awayMs | 0} ms, all done ${drainedMs | 0} ms after the return`,
    );
    expect(load.sent.filter(({ status }) => status !== 200)).toEqual([]);
    expect(Math.max(...accepted)).toBeLessThan(ACCEPTED_WITHIN_MS);
    for (const { id, artifact } of ended) {
      const { bytes, sha256 } = artifact!;
      expect(await api.download(id)).toEqual({ status: 200, bytes, sha256 });
    }
    expect(await ingestFaults(test.pool, load.sent)).toEqual({ lost: [], twice: [], unasked: [] });
    await until("every event is counted", async () => {
      const { rows } = await test.pool.query(
        "select count(*)::integer as n from messages where message_id like 'load-%'",
      );
      return rows[0].n === load.sent.length;
    });
  },
);
