import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import type { RunKey } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { buildReport } from "../../src/jobs/build-report.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { call } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";
import { contract } from "./contract.js";

const CANCELLED_WITHIN_MS = 2_000;
const ENDLESS = "copy (select repeat('endless ', 20) from generate_series(1, 1000000000)) to stdout";

contract("a cancel", (on) => {
  beforeAll(() => seedMessages(on.app().context, "shop"));

  const send = async (method: string, path: string, body?: unknown) => {
    const { adminKey, url } = on.app();
    const reply = await call(url, method, path, { key: adminKey, body });
    expect(reply.status).toBeLessThan(300);
    return reply.json;
  };
  const orderExport = (more: object = {}) =>
    send("POST", "/analytics/exports", {
      ...{ account_id: "shop", dataset: "messages", format: "csv", ...seedRange, ...more },
    });
  const orderSummary = () =>
    send("POST", "/analytics/reports", {
      ...{ account_id: "shop", template: "delivery-summary", format: "csv", ...seedRange },
    });

  /** Nobody reads these tables until the test is over. */
  async function lock(tables: string): Promise<void> {
    const holder = await on.app().context.pool.connect();
    await holder.query(`begin; lock table ${tables} in access exclusive mode`);
    onTestFinished(async () => {
      await holder.query("rollback");
      holder.release();
    });
  }
  const statements = async (like: string): Promise<number> => {
    const { rows } = await on.app().context.pool.query(
      `select from pg_stat_activity
       where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and query ~* $1`,
      [like],
    );
    return rows.length;
  };
  const files = async () => {
    const folder = join(on.app().context.config.dataDir, "artifacts");
    const found = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    return found.filter((entry) => entry.isFile()).length;
  };

  /** Exports whose COPY is another one. */
  const copying = (sql: string) => ({
    ...buildExport,
    run: (key: RunKey, context: JobContext) => {
      const { copy } = context;
      const streamAt: typeof copy.streamAt = (snapshot, _sql, signal) => copy.streamAt(snapshot, sql, signal);
      return buildExport.run(key, { ...context, copy: { ...copy, streamAt } });
    },
  });

  /** Cancels, and sees to it that it takes less than two seconds and leaves nothing. */
  async function expectStopped(run: { id: string; links: { self: string } }, statement: string) {
    const askedAt = performance.now();
    await send("POST", `${run.links.self}/cancel`);
    await expect
      .poll(async () => (await send("GET", run.links.self)).status, { interval: 10, timeout: 5_000 })
      .toBe("cancelled");
    await expect.poll(() => statements(statement), { interval: 10, timeout: 5_000 }).toBe(0);
    const tookMs = performance.now() - askedAt;
    expect(tookMs).toBeLessThan(CANCELLED_WITHIN_MS);
    await on.idle("exports");
    await on.idle("reports");
    expect(await files()).toBe(0);
    expect((await send("GET", run.links.self)).artifact).toBeNull();
  }

  it("while the run waits to be admitted ends it, and its place goes to the next", async () => {
    await send("PATCH", "/analytics/accounts/shop", { quotas: { max_running: 1 } });
    onTestFinished(() => send("PATCH", "/analytics/accounts/shop", { quotas: { max_running: null } }));
    const [first, second, third] = [await orderExport(), await orderExport(), await orderExport()];
    const admitted = async (run: { id: string }) =>
      (await on.app().context.pool.query("select enqueued_at from runs where run_id = $1", [run.id])).rows[0]
        .enqueued_at !== null;
    expect(await Promise.all([first, second, third].map(admitted))).toEqual([true, false, false]);
    expect((await send("POST", `${second.links.self}/cancel`)).status).toBe("cancelled");
    expect((await send("POST", `${first.links.self}/cancel`)).status).toBe("cancelled");
    expect(await Promise.all([first, second, third].map(admitted))).toEqual([true, false, true]);
    await send("POST", `${third.links.self}/cancel`);
  });

  it("while its rows are counted stops the statement", async () => {
    await on.start([buildExport]);
    await lock("messages");
    const run = await orderExport();
    await expect.poll(() => statements("select count.*from messages m"), { timeout: 10_000 }).toBe(1);
    await expectStopped(run, "select count.*from messages m");
  });

  it("while the numbers of a summary are read stops the statement", async () => {
    await on.start([buildReport]);
    await lock("rollups, daily_rollups");
    const run = await orderSummary();
    await expect.poll(() => statements("rollups"), { timeout: 10_000 }).toBe(1);
    await expectStopped(run, "from .*rollups");
  });

  it("before the first row, as in a sort, stops the COPY", async () => {
    await on.start([copying("copy (select pg_sleep(600)) to stdout")]);
    const run = await orderExport();
    await expect.poll(() => statements("^copy"), { timeout: 10_000 }).toBe(1);
    await expectStopped(run, "^copy");
  });

  it("while rows are streamed, compressed and written stops the COPY and removes the file", async () => {
    await on.start([copying(ENDLESS)]);
    const run = await orderExport({ compression: "gzip" });
    await expect.poll(files, { timeout: 10_000 }).toBeGreaterThan(0);
    await expect
      .poll(async () => (await send("GET", run.links.self)).progress.bytes, { timeout: 10_000 })
      .toBeGreaterThan(0);
    expect(await statements("^copy")).toBe(1);
    await expectStopped(run, "^copy");
  });
});
