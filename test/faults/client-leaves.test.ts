import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readlink, rm } from "node:fs/promises";
import { get as httpGet, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createDiskStore } from "../../src/exports/artifacts/disk.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";

/** More than the buffers between the file and a reader who does not read can hold. */
const FILE_BYTES = 64 * 1024 * 1024;
const READERS = 4;

let app: TestApp;
let folder: string;
let download: string;
const rejections: unknown[] = [];
const keep = (reason: unknown) => rejections.push(reason);

beforeAll(async () => {
  process.on("unhandledRejection", keep);
  folder = await mkdtemp(join(tmpdir(), "left-"));
  app = await startTestApp({ env: { DATA_DIR: folder } });
  await seedMessages(app.context, "shop");
  await app.context.pool.query(
    `insert into messages (account_id, message_id, anchor_at, contact_id, updated_at)
     select 'shop', 'message-' || i, '2025-03-01'::timestamptz + i * interval '1 second', repeat('x', 400), now()
     from generate_series(1, 60000) i`,
  );
  download = await storeFile();
});
afterAll(async () => {
  process.off("unhandledRejection", keep);
  await app?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A finished export of one large file; its path for a download. */
async function storeFile(): Promise<string> {
  const runId = randomUUID();
  const key = `${runId}/1`;
  async function* bytes() {
    const part = Buffer.alloc(1024 * 1024, 0x61);
    for (let written = 0; written < FILE_BYTES; written += part.length) yield part;
  }
  const { sha256 } = await createDiskStore(join(folder, "artifacts")).write(key, bytes());
  const artifact = {
    segments: [{ key, bytes: FILE_BYTES }],
    ...{ file_name: "a.csv", content_type: "text/csv", bytes: FILE_BYTES, rows: 1, sha256 },
    expires_at: "2100-01-01T00:00:00.000Z",
  };
  await app.context.pool.query(
    `insert into runs (account_id, run_id, kind, status, params, requested_by, max_attempts, artifact)
     values ('shop', $1, 'export', 'succeeded', '{"account_id": "shop"}', 'test', 3, $2)`,
    [runId, JSON.stringify(artifact)],
  );
  return `/analytics/exports/${runId}/download`;
}

/** The start of an answer, of which no more is read. */
async function begin(path: string): Promise<IncomingMessage> {
  const request = httpGet(app.url + path, { headers: { authorization: `Bearer ${app.adminKey}` } });
  request.on("error", () => {});
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.on("error", () => {});
  await once(response, "readable");
  return response;
}

/** Files of the artifact store that this process, which the API runs in, has open. */
async function openFiles(): Promise<number> {
  const names = await readdir("/proc/self/fd");
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => "")));
  return targets.filter((target) => target.startsWith(folder)).length;
}

const copying = async () =>
  (
    await app.context.pool.query(
      `select from pg_stat_activity
       where datname = current_database() and application_name = 'api export' and state <> 'idle'`,
    )
  ).rowCount;

const exportPath = `/analytics/export?${new URLSearchParams({ account_id: "shop", dataset: "messages", ...seedRange })}`;

it.runIf(process.platform === "linux")(
  "F20: readers who leave downloads and exports leave no file, statement, connection or rejection behind",
  async () => {
    const { pool } = app.context;
    for (let round = 0; round < 2; round++) {
      const readers = await Promise.all(
        [download, exportPath].flatMap((path) => Array.from({ length: READERS }, () => begin(path))),
      );
      expect(readers.map(({ statusCode }) => statusCode)).toEqual(Array(2 * READERS).fill(200));
      const open = async () => [await openFiles(), await copying()];
      await expect.poll(open, { interval: 20, timeout: 10_000 }).toEqual([READERS, READERS]);
      const leftAt = performance.now();
      for (const reader of readers) reader.destroy();
      await expect.poll(open, { interval: 20, timeout: 10_000 }).toEqual([0, 0]);
      expect(performance.now() - leftAt).toBeLessThan(1_000);
    }
    // One who leaves before the answer has begun.
    const early = httpGet(app.url + download, { headers: { authorization: `Bearer ${app.adminKey}` } });
    early.on("error", () => {});
    await once(early, "socket");
    early.destroy();
    await expect.poll(openFiles).toBe(0);

    expect([pool.idleCount, pool.waitingCount]).toEqual([pool.totalCount, 0]);
    expect((await call(app.url, "GET", download, { key: app.adminKey })).text).toHaveLength(FILE_BYTES);
    expect((await call(app.url, "GET", exportPath, { key: app.adminKey })).status).toBe(200);
    expect([await openFiles(), rejections]).toEqual([0, []]);
  },
);
