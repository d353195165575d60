import { readdir } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { changeFiles, fileAllowance } from "../../src/db/queries/account-files.js";
import type { RunKey } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { sweepFiles } from "../../src/jobs/sweep-files.js";
import { openWork, seedMessages, seedRange, type TestWork, testSettings } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
  await seedMessages(test, "shop");
  await seedMessages(test, "other");
});
afterAll(() => test.close());
beforeEach(async () => {
  await changeFiles(test.db, "shop", { quota_bytes: null, retention_hours: null });
  await test.pool.query("delete from runs");
});

const HOUR = 3_600_000;
const defaults = { retentionMs: HOUR, quotaBytes: 0 };
const newExport = (account = "shop"): Promise<RunKey> =>
  test.insertRun("export", account, { dataset: "messages", format: "csv", ...seedRange });
const settings = (quotaBytes: number) => ({
  settings: { ...testSettings, artifactRetentionMs: HOUR, artifactQuotaBytes: quotaBytes },
});
const storedFiles = async () =>
  (await readdir(test.artifactRoot, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
const failed = async (key: RunKey, quota: number) => {
  const before = (await storedFiles()).length;
  await expect(test.work(buildExport, key, settings(quota))).rejects.toMatchObject({
    code: "quota_exceeded",
  });
  expect(await test.run(key)).toMatchObject({ status: "failed", artifact: null });
  expect((await test.run(key)).error).toMatchObject({
    code: "quota_exceeded",
    message: expect.stringContaining(`${quota} bytes`),
  });
  expect(await storedFiles()).toHaveLength(before);
};

describe("the quota of an account", () => {
  it("lets a file through that just fits, and fails one that does not, leaving nothing", async () => {
    const first = await newExport();
    await test.work(buildExport, first, settings(0));
    const { bytes } = (await test.run(first)).artifact!;
    await failed(await newExport(), bytes * 2 - 1);
    const fits = await newExport();
    await test.work(buildExport, fits, settings(bytes * 2));
    expect(await test.run(fits)).toMatchObject({ status: "succeeded", artifact: { bytes } });
    expect(await fileAllowance(test.db, "shop", defaults)).toMatchObject({ usedBytes: bytes * 2 });
    await failed(await newExport(), bytes * 2);
    const others = await newExport("other");
    await test.work(buildExport, others, settings(bytes * 2));
    expect(await test.run(others)).toMatchObject({ status: "succeeded" });
  });

  it("counts what another run has finished meanwhile", async () => {
    const first = await newExport();
    await test.work(buildExport, first, settings(0));
    const { bytes } = (await test.run(first)).artifact!;
    await test.pool.query("delete from runs");
    const [key, rival] = [await newExport(), await newExport()];
    const store = {
      ...test.artifacts,
      async write(...written: Parameters<typeof test.artifacts.write>) {
        const measure = await test.artifacts.write(...written);
        await test.work(buildExport, rival, settings(0));
        return measure;
      },
    };
    const work = test.work(buildExport, key, { ...settings(bytes + 1), artifacts: store });
    await expect(work).rejects.toMatchObject({ code: "quota_exceeded" });
    expect(await test.artifacts.size(`${key.runId}/1`)).toBeUndefined();
    expect(await test.run(rival)).toMatchObject({ status: "succeeded" });
  });

  it("is seen among the parts of a large export, and none of them stays", async () => {
    const first = await newExport();
    await test.work(buildExport, first, settings(0));
    const { bytes } = (await test.run(first)).artifact!;
    const before = (await storedFiles()).length;
    const key = await newExport();
    const inParts = { ...settings(bytes + 300).settings, exportPartRows: 3, exportParallelism: 1 };
    await expect(test.work(buildExport, key, { settings: inParts })).rejects.toMatchObject({
      code: "quota_exceeded",
    });
    expect(await test.run(key)).toMatchObject({ status: "failed", error: { code: "quota_exceeded" } });
    expect(await storedFiles()).toHaveLength(before);
    const whole = await newExport();
    await test.work(buildExport, whole, { settings: { ...inParts, artifactQuotaBytes: bytes * 2 } });
    const made = (await test.run(whole)).artifact!;
    expect(made.segments.length).toBeGreaterThan(2);
    expect(made.bytes).toBe(bytes);
  });

  it("may be its own, and forgets files that have expired or were removed", async () => {
    const key = await newExport();
    await test.work(buildExport, key, settings(1_000_000));
    const { bytes } = (await test.run(key)).artifact!;
    await changeFiles(test.db, "shop", { quota_bytes: bytes });
    const allowance = () => fileAllowance(test.db, "shop", { ...defaults, quotaBytes: 5 });
    expect(await allowance()).toMatchObject({ quotaBytes: bytes, usedBytes: bytes });
    await failedWithOwn(await newExport(), bytes);
    await test.pool.query(
      `update runs set artifact = artifact || '{"expires_at": "2025-01-01T00:00:00.000Z"}' where run_id = $1`,
      [key.runId],
    );
    expect(await allowance()).toMatchObject({ usedBytes: 0 });
    await test.work(sweepFiles, {});
    expect(await allowance()).toMatchObject({ usedBytes: 0 });
    await test.work(buildExport, await newExport());
    expect(await allowance()).toMatchObject({ usedBytes: bytes });
    await changeFiles(test.db, "shop", { quota_bytes: null });
    expect(await allowance()).toMatchObject({ quotaBytes: 5 });
    await changeFiles(test.db, "shop", { quota_bytes: 0 });
    expect(await allowance()).toMatchObject({ quotaBytes: 0 });
  });
});

async function failedWithOwn(key: RunKey, quota: number): Promise<void> {
  await expect(test.work(buildExport, key)).rejects.toMatchObject({
    code: "quota_exceeded",
    message: expect.stringContaining(`${quota} bytes`),
  });
}

describe("how long a file is kept", () => {
  it.each([
    ["as configured", null, HOUR],
    ["as the account wants it", 48, 48 * HOUR],
  ])("is %s", async (_title, hours, expected) => {
    await changeFiles(test.db, "shop", { retention_hours: hours });
    const key = await newExport();
    const started = Date.now();
    await test.work(buildExport, key);
    const { artifact } = await test.run(key);
    const keptMs = new Date(artifact!.expires_at).getTime() - started;
    expect(keptMs).toBeGreaterThanOrEqual(expected);
    expect(keptMs).toBeLessThan(expected + 60_000);
  });
});
