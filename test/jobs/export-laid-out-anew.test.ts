import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createCopySource } from "../../src/db/copy.js";
import {
  addPart,
  claimPart,
  readParts,
  removeParts,
  reopenParts,
} from "../../src/db/queries/export-parts.js";
import { type Claim, claimRun, type RunKey, requestCancel, restartRun } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { helpExport } from "../../src/jobs/help-export.js";
import { exportFile, openRange } from "../../src/jobs/open-dataset.js";
import { partedFormat } from "../../src/jobs/parted-format.js";
import { exportRequest, type RangeRequest } from "../../src/jobs/run-requests.js";
import { openWork, seedMessages, seedRange, type TestWork, testSettings } from "../support/work.js";

const settings = { ...testSettings, exportPartRows: 6, exportParallelism: 1 };
let test: TestWork;
let rows: number;
beforeAll(async () => {
  test = await openWork();
  rows = await seedMessages(test, "shop");
});
afterAll(() => test.close());

/** In two parts, in place of those that there were. */
async function layOut(claim: Claim, layout: string, boundary: string[]): Promise<void> {
  await removeParts(test.db, claim);
  for (const [part, range] of [{ to: boundary }, { from: boundary }].entries())
    await addPart(test.db, claim, { part, layout, range });
}

/** Nobody is frozen: the worker of attempt 1 was killed, its helper is alive and goes on. */
it("a living helper of a killed attempt gives no part to the next one, which was laid out otherwise", async () => {
  const key = await test.insertRun("export", "shop", { dataset: "messages", format: "csv", ...seedRange });
  const one = (await claimRun(test.db, key, "killed"))!;
  // Fewer rows were there then: the parts began elsewhere.
  const request = exportRequest.parse(one.params);
  const opened = await openRange(test.db, request as RangeRequest);
  const { layout } = partedFormat(settings, exportFile(request, opened, one.created_at))!;
  await layOut({ ...key, fence: one.fence }, layout, ["2025-03-02 00:00:00+00", ""]);
  const copy = createCopySource(test.pool);
  let claimed = () => {};
  const holds = new Promise<void>((resolve) => (claimed = resolve));
  let go = () => {};
  const mayGo = new Promise<void>((resolve) => (go = resolve));
  const helperCopy: JobContext["copy"] = {
    ...copy,
    async streamAt(snapshot, sql, signal) {
      claimed();
      await mayGo;
      return copy.streamAt(snapshot, sql, signal);
    },
  };
  const snapshot = { id: "gone", takenAt: new Date().toISOString() };
  const help = { accountId: "shop", runId: key.runId, fence: one.fence, snapshot, helper: 1, turn: 0 };
  const helper = test.work(helpExport, help, { settings, copy: helperCopy });
  await holds;
  let first = true;
  const mainCopy: JobContext["copy"] = {
    ...copy,
    async streamAt(at, sql, signal) {
      if (first) {
        first = false;
        go();
        await Promise.race([once(signal, "abort"), delay(3_000)]);
        signal.throwIfAborted();
      }
      return copy.streamAt(at, sql, signal);
    },
  };
  await test.work(buildExport, key, { settings, copy: mainCopy });
  await helper.catch(() => {});
  expect((await test.run(key)).artifact?.rows).toBe(rows);
});

it("a cancelled attempt that cleans up late leaves the parts of the retry alone", async () => {
  const key = await test.insertRun("export", "shop", { dataset: "messages", format: "csv", ...seedRange });
  const copy = createCopySource(test.pool);
  const slow: JobContext["copy"] = {
    ...copy,
    async streamAt(snapshot, sql, signal) {
      await requestCancel(test.db, "shop", key.runId);
      await delay(10_000, undefined, { signal }).catch(() => {});
      return copy.streamAt(snapshot, sql, signal);
    },
  };
  // Between "cancelled" and the clean-up: its user retries, and another worker takes it up.
  const admit = async () => {
    const again = (await restartRun(test.db, "shop", key.runId))!;
    const run = (await claimRun(test.db, { ...key, generation: again.generation }, "two"))!;
    const next = { accountId: "shop", runId: key.runId, fence: run.fence };
    await layOut(next, "any", ["2025-03-02", ""]);
    await claimPart(test.db, { ...next, runFence: run.fence, layout: "any" }, "two");
  };
  const { result } = await test.work(buildExport, key, { settings, copy: slow, admit });
  expect(result).toEqual({ cancelled: true });
  expect(await readParts(test.db, key)).toHaveLength(2);
});

it("a worker whose run was taken over lays nothing out in place of the other's parts", async () => {
  const key = await test.insertRun("export", "shop", { dataset: "messages", format: "csv", ...seedRange });
  const copy = createCopySource(test.pool);
  const takenOver: JobContext["copy"] = {
    ...copy,
    async holdSnapshot() {
      const run = (await claimRun(test.db, key, "two"))!;
      await layOut({ ...key, fence: run.fence }, "two", ["2025-03-02", ""]);
      return copy.holdSnapshot();
    },
  };
  const { result } = await test.work(buildExport, key, { settings, copy: takenOver });
  expect(result).toEqual({ skipped: "fenced" });
  expect((await readParts(test.db, key)).map(({ layout }) => layout)).toEqual(["two", "two"]);
});

it("a part that was built again meanwhile is not lost with its first file", async () => {
  const key = await brokenOff();
  await reopenParts(test.db, key, ["the file of another attempt"]);
  expect((await readParts(test.db, key)).filter((part) => part.done_at)).toHaveLength(1);
});

it("a part whose file is gone is built again by the next attempt", async () => {
  const key = await brokenOff();
  await test.artifacts.remove((await readParts(test.db, key)).find((part) => part.key)!.key!);
  await test.work(buildExport, key, { settings }).catch(() => {});
  await test.work(buildExport, key, { settings }).catch(() => {});
  expect((await test.run(key)).status).toBe("succeeded");
});

it("a part whose file is not what was stored is built again by the next attempt", async () => {
  const key = await brokenOff();
  const { key: file, bytes } = (await readParts(test.db, key)).find((part) => part.key)!;
  await writeFile(join(test.artifactRoot, file!), Buffer.alloc(bytes, "x"));
  await test.work(buildExport, key, { settings });
  expect((await test.run(key)).artifact?.rows).toBe(rows);
  expect((await test.file(key)).toString()).not.toContain("xxx");
});

it("parts that another release has made otherwise are not joined with ours", async () => {
  const key = await brokenOff();
  await test.pool.query("update export_parts set layout = 'of another release' where run_id = $1", [
    key.runId,
  ]);
  await test.work(buildExport, key, { settings });
  // Laid out anew, under the fence of the second attempt.
  for (const segment of (await test.run(key)).artifact!.segments)
    if ("key" in segment) expect(segment.key).toMatch(/-2\d{6}$/);
});

/** An export whose first attempt has built one of its two parts. */
async function brokenOff(): Promise<RunKey> {
  const key = await test.insertRun("export", "shop", { dataset: "messages", format: "csv", ...seedRange });
  const copy = createCopySource(test.pool);
  let reads = 0;
  const once = {
    ...copy,
    streamAt: async (...given: Parameters<typeof copy.streamAt>) => {
      if (++reads === 2) throw new Error("the connection broke");
      return copy.streamAt(...given);
    },
  };
  await expect(test.work(buildExport, key, { settings, copy: once })).rejects.toThrow("broke");
  return key;
}
