import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { API_KEY, type Installation, startInstallation } from "../../e2e/installation.js";
import { until } from "../../e2e/support.js";
import { type OwnPostgres, startOwnPostgres } from "../../support/own-postgres.js";
import { queueStores } from "../../support/redis.js";
import { ingestFaults, longest, startLoad } from "./load.js";

const ROWS = 20_000;
const CLIENTS = 20;
const RUNS = 15;
/** The waits between five attempts are 15 s together. */
const OUTAGE_MS = 20_000;
/** Several times what an idle machine takes: whatever waits for the database waits longer. */
const ANSWERED_WITHIN_MS = 10_000;
const RECOVERED_WITHIN_MS = 40_000;
/** A worker that lost its job's lock with the server is taken for dead first. */
const RUNS_DONE_WITHIN_MS = 60_000;

vi.setConfig({ testTimeout: 180_000, hookTimeout: 90_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  let postgres: OwnPostgres;
  let service: Installation;
  beforeAll(async () => {
    postgres = await startOwnPostgres();
    service = await startInstallation({ queues, database: postgres, env: { WORKER_CONCURRENCY: "2" } });
    await service.seedMessages(ROWS);
  });
  afterAll(() => service?.stop());

  it("F11: PostgreSQL restarted at once under load loses nothing, and everything goes on by itself", async () => {
    const { api } = service;
    const { url } = await service.process("api").ready;
    const load = startLoad({ url, apiKey: API_KEY }, CLIENTS);
    const runs = await Promise.all(Array.from({ length: RUNS }, () => service.orderLog()));
    await until("a report is at work", async () => {
      const { rows } = await postgres.pool.query("select from runs where status = 'running'");
      return rows.length > 0;
    });
    const downAt = performance.now();
    await postgres.restart();
    const upAt = performance.now();
    await until("events are taken again", () =>
      load.sent.some(({ at, status }) => at > upAt && status === 200),
    );
    const recoveredMs = performance.now() - upAt;
    const ended = await Promise.all(runs.map(({ id }) => api.finished(id, RUNS_DONE_WITHIN_MS)));
    const doneMs = performance.now() - upAt;
    await load.stop();

    const during = load.sent.filter(({ at, ms }) => at + ms > downAt && at < upAt + recoveredMs);
    const refused = load.sent.filter(({ status }) => status !== 200);
    console.info(
      `${queues}: ${load.sent.length} events, ${refused.length} refused; away ${Math.round(upAt - downAt)} ms, longest answer ` +
        `${Math.round(longest(during))} ms; events again after ${Math.round(recoveredMs)} ms, runs done after ${Math.round(doneMs)} ms`,
    );
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.filter(({ status, retryAfter }) => status !== 503 || !retryAfter)).toEqual([]);
    expect(longest(during)).toBeLessThan(ANSWERED_WITHIN_MS);
    expect(recoveredMs).toBeLessThan(RECOVERED_WITHIN_MS);
    expect(await ingestFaults(postgres.pool, load.sent)).toEqual({ lost: [], twice: [], unasked: [] });
    await until("every event is counted, and nothing else", async () => {
      const { rows } = await postgres.pool.query(
        `select (select count(*) from message_events)::integer as events,
                (select count(*) from messages where message_id like 'load-%')::integer as messages`,
      );
      return rows[0].events === rows[0].messages;
    });
    for (const { id, artifact } of ended) {
      const { bytes, sha256 } = artifact!;
      expect(await api.download(id)).toEqual({ status: 200, bytes, sha256 });
    }
    const { database_pool } = await api.json<{
      database_pool: { size: number; open: number; waiting: number };
    }>("GET", "/analytics/diagnostics");
    expect(database_pool.waiting).toBe(0);
    expect(database_pool.open).toBeLessThanOrEqual(database_pool.size);
    for (const program of ["api", "worker", "scheduler"] as const)
      expect(service.process(program).child.exitCode).toBeNull();
  });

  it("F11: an outage longer than all attempts of a job costs no run", async () => {
    const { api } = service;
    const runs = await Promise.all(Array.from({ length: RUNS }, () => service.orderLog()));
    await until("a report is at work", async () => {
      const { rows } = await postgres.pool.query("select from runs where status = 'running'");
      return rows.length > 0;
    });
    await postgres.restart(OUTAGE_MS);
    const upAt = performance.now();
    await Promise.all(runs.map(({ id }) => api.finished(id, RUNS_DONE_WITHIN_MS)));
    console.info(
      `${queues}: away ${OUTAGE_MS} ms, runs done after ${Math.round(performance.now() - upAt)} ms`,
    );
  });
});
