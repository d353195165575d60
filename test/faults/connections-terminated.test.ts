import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startWorkers, type Workers } from "../../src/workers/start-workers.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { hasRedis, queueStores, startRedis, type TestRedis } from "../support/redis.js";
import { seedMessages, seedRange } from "../support/work.js";

/** What listens for jobs may be gone for as long. */
const PICKED_UP_WITHIN_MS = 5_000;
/** A worker that can tell the queue nothing any more counts as dead after 25 s. */
const TAKEN_OVER_WITHIN_MS = 40_000;
/** On top of it for the work itself on a busy machine. */
const PATIENCE_MS = 20_000;

describe.each(queueStores)("with the queues in %s", (queues) => {
  let redis: TestRedis | undefined;
  let app: TestApp;
  let workers: Workers;
  let dataDir: string;
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "terminated-test-"));
    if (queues === "redis" && hasRedis) redis = await startRedis();
    app = await startTestApp({ env: { DATA_DIR: dataDir, ...(redis ? { REDIS_URL: redis.url } : {}) } });
    await seedMessages(app.context, "shop");
    workers = await startWorkers(app.context);
  });
  afterAll(async () => {
    await workers?.drain(2_000);
    await app?.close();
    await redis?.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  /** Ends these sessions and tells how many there were. */
  async function terminate(where: string): Promise<number> {
    const { rows } = await app.context.pool.query(
      `select count(pg_terminate_backend(pid))::integer as ended from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid() and ${where}`,
    );
    return rows[0].ended;
  }

  const order = () =>
    call(app.url, "POST", "/analytics/reports", {
      key: app.adminKey,
      body: { account_id: "shop", template: "message-log", format: "csv", ...seedRange },
    });
  async function finished(id: string, withinMs = PICKED_UP_WITHIN_MS + PATIENCE_MS): Promise<number> {
    const startedAt = performance.now();
    await vi.waitFor(
      async () => {
        const { json } = await call(app.url, "GET", `/analytics/reports/${id}`, { key: app.adminKey });
        expect(json.status).toBe("succeeded");
      },
      { timeout: withinMs, interval: 25 },
    );
    return performance.now() - startedAt;
  }

  it("F12: a request whose connection is ended answers 503, and the next one works", async () => {
    const { pool } = app.context;
    // Holds the row that the request will wait for.
    const holder = await pool.connect();
    await holder.query("begin");
    await holder.query("select from accounts where account_id = 'shop' for update");
    const change = call(app.url, "PATCH", "/analytics/accounts/shop", {
      key: app.adminKey,
      body: { time_zone: "Europe/Berlin" },
    });
    await vi.waitFor(async () => expect(await terminate("wait_event_type = 'Lock'")).toBe(1));
    const refused = await change;
    await holder.query("rollback");
    holder.release();
    expect([refused.status, refused.json.code]).toEqual([503, "database_unavailable"]);
    expect(refused.headers.get("retry-after")).toBe("2");
    const again = await call(app.url, "PATCH", "/analytics/accounts/shop", {
      key: app.adminKey,
      body: { time_zone: "Europe/Berlin" },
    });
    expect(again.status).toBe(200);
  });

  it("F12: a report is done although its COPY, and later every idle connection, is ended", async () => {
    const { pool } = app.context;
    const holder = await pool.connect();
    await holder.query("begin");
    // COPY waits here, where it can be found.
    await holder.query("lock table messages in access exclusive mode");
    const accepted = await order();
    await vi.waitFor(async () => expect(await terminate("wait_event_type = 'Lock'")).toBe(1), {
      timeout: 10_000,
    });
    await holder.query("rollback");
    holder.release();
    const ms = await finished(accepted.json.id);
    console.info(`${queues}: done ${Math.round(ms)} ms after its COPY was ended`);
    // Now the idle connections of every pool.
    expect(await terminate("true")).toBeGreaterThan(0);
    await finished((await order()).json.id, TAKEN_OVER_WITHIN_MS);
  });

  it("F12: losing the queues' connections, the listening ones too, delays a job by 5 s at most", async () => {
    await finished((await order()).json.id);
    const ended = await terminate("application_name like '%queues'");
    if (queues === "postgres") expect(ended).toBeGreaterThan(0);
    const accepted = await order();
    expect(accepted.status).toBe(202);
    const { rows } = await app.context.pool.query("select enqueued_at from runs where run_id = $1", [
      accepted.json.id,
    ]);
    expect(rows[0].enqueued_at).not.toBeNull();
    const ms = await finished(accepted.json.id);
    console.info(
      `${queues}: ${ended} queue connections ended, picked up and done after ${Math.round(ms)} ms`,
    );
    expect(ms).toBeLessThan(PICKED_UP_WITHIN_MS + PATIENCE_MS);
  });
});
