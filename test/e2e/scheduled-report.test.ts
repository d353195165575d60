import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { fireSchedules } from "../../src/jobs/fire-schedules.js";
import { startWorkers } from "../../src/workers/start-workers.js";
import { createTicker } from "../../src/workers/ticker.js";
import { call, startTestApp } from "../support/app.js";
import { silentLog } from "../support/postgres.js";
import { seedMessages } from "../support/work.js";

it("a schedule that is due ends in a file to download: API, tick, queue and workers", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "scheduled-test-"));
  const app = await startTestApp({ env: { DATA_DIR: dataDir } });
  const send = (method: string, path: string, body?: unknown) =>
    call(app.url, method, path, { key: app.adminKey, body });
  await seedMessages(app.context, "shop");
  const { json: schedule } = await send("POST", "/analytics/schedules", {
    account_id: "shop",
    name: "every morning",
    cron: "0 8 * * *",
    report: { template: "message-log", format: "csv" },
    range: "yesterday",
  });
  await app.context.pool.query(
    `update schedules set next_fire_at = next_fire_at - interval '1 day', look_at = look_at - interval '1 day'`,
  );
  const workers = await startWorkers(app.context);
  await createTicker([fireSchedules], app.context.queues.enqueue, silentLog).tick(new Date());
  try {
    const run = await vi.waitFor(
      async () => {
        const { json } = await send("GET", `/analytics/schedules/${schedule.id}/history`);
        expect(json.data[0]?.run.status).toBe("succeeded");
        return json.data[0].run;
      },
      { timeout: 20_000 },
    );
    const file = await send("GET", `${run.links.self}/download`);
    expect([file.status, file.text.slice(0, 11)]).toEqual([200, "account_id,"]);
  } finally {
    await workers.drain(2_000);
    await app.close();
    await rm(dataDir, { recursive: true, force: true });
  }
});
