import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { startWorkers, type Workers } from "../../../src/workers/start-workers.js";
import { call, startTestApp, type TestApp } from "../../support/app.js";
import { seedMessages, seedRange } from "../../support/work.js";

const folder = await mkdtemp(join(tmpdir(), "disk-full-"));
const artifacts = join(folder, "artifacts");
mkdirSync(artifacts);
const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", artifacts]).status === 0;
if (!mounted) console.warn("this user may not mount: the full disk is skipped");

/** Five attempts, with 15 s between them. */
const FAILED_WITHIN_MS = 40_000;
/** More than 1 MB of CSV. */
const ROWS = 20_000;

vi.setConfig({ testTimeout: 90_000 });

let app: TestApp;
let workers: Workers;
beforeAll(async () => {
  app = await startTestApp({ env: { DATA_DIR: folder } });
  await seedMessages(app.context, "small");
  await app.context.pool.query("insert into accounts (account_id) values ('large')");
  await app.context.pool.query(
    `insert into messages (account_id, message_id, anchor_at, sent_at, updated_at, direction, channel_id, contact_id)
     select 'large', 'message-number-' || n, at, at, at, 'outbound', 'channel', '491555' || n
     from (select n, '2025-03-01'::timestamptz + n * interval '1 s' as at from generate_series(1, $1::integer) n) times`,
    [ROWS],
  );
  workers = await startWorkers(app.context);
});
afterAll(async () => {
  await workers?.drain(2_000);
  await app?.close();
  if (mounted) spawnSync("umount", [artifacts]);
  await rm(folder, { recursive: true, force: true });
});

async function ended(accountId: string, withinMs: number) {
  const accepted = await call(app.url, "POST", "/analytics/reports", {
    key: app.adminKey,
    body: { account_id: accountId, template: "message-log", format: "csv", ...seedRange },
  });
  expect(accepted.status).toBe(202);
  return vi.waitFor(
    async () => {
      const { json } = await call(app.url, "GET", `/analytics/reports/${accepted.json.id}`, {
        key: app.adminKey,
      });
      expect(json.status).not.toMatch(/queued|running/);
      return json;
    },
    { timeout: withinMs, interval: 100 },
  );
}

it.skipIf(!mounted)(
  "F16: a full disk fails the run with its reason, leaves nothing behind and harms nothing else",
  async () => {
    const failed = await ended("large", FAILED_WITHIN_MS);
    expect(failed).toMatchObject({
      status: "failed",
      attempt: 5,
      error: { code: "disk_full" },
      artifact: null,
    });
    const left = await readdir(artifacts, { recursive: true, withFileTypes: true });
    expect(left.filter((entry) => entry.isFile()).map(({ name }) => name)).toEqual([]);
    expect((await call(app.url, "GET", "/analytics/health/ready")).status).toBe(200);
    expect(await ended("small", FAILED_WITHIN_MS)).toMatchObject({ status: "succeeded", attempt: 1 });
  },
);
