import { afterAll, beforeAll, expect, it } from "vitest";
import { createCopySource } from "../../src/db/copy.js";
import { addPart, claimPart, removeParts } from "../../src/db/queries/export-parts.js";
import { claimRun, type RunKey } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { helpExport } from "../../src/jobs/help-export.js";
import { openWork, seedMessages, seedRange, type TestWork, testSettings } from "../support/work.js";

const settings = { ...testSettings, exportPartRows: 2, exportParallelism: 3 };

let test: TestWork;
let messages: number;
beforeAll(async () => {
  test = await openWork();
  messages = await seedMessages(test, "shop");
});
afterAll(() => test.close());

const order = () => test.insertRun("export", "shop", { dataset: "messages", format: "csv", ...seedRange });
const lateHelp = (key: RunKey, fence: number) => ({
  ...{ accountId: key.accountId, runId: key.runId, fence, helper: 1, turn: 0 },
  snapshot: { id: "gone", takenAt: new Date().toISOString() },
});

it("builds parts in turn with the worker that has the export, each once, under its snapshot", async () => {
  const key = await order();
  const read: string[] = [];
  const copy = createCopySource(test.pool);
  const counted: JobContext["copy"] = {
    ...copy,
    async streamAt(snapshot, sql, signal) {
      read.push(sql);
      return copy.streamAt(snapshot, sql, signal);
    },
  };
  const helped: Promise<{ result: Record<string, unknown> }>[] = [];
  const enqueue: JobContext["enqueue"] = async (job, payload, options) => {
    expect(job.kind).toBe("exports.help");
    const worker = String(options?.id);
    helped.push(test.work(helpExport, payload as never, { settings, copy: counted, enqueue, worker }));
  };
  await test.work(buildExport, key, { settings, copy: counted, enqueue });
  let ended = 0;
  const results = [];
  // Each of them asks for the next before it ends.
  while (ended < helped.length) results.push((await helped[ended++]!).result);
  const { artifact } = await test.run(key);
  expect(read).toHaveLength(Math.ceil(messages / 2));
  expect(new Set(read).size).toBe(read.length);
  expect(artifact!.content!.consistency).toBe("snapshot");
  // Who gets how many is chance; those who asked last found none.
  expect(results.some(({ parts }) => Number(parts) > 0)).toBe(true);
  expect(results).toContainEqual({ skipped: expect.any(String) });
  const whole = await order();
  await test.work(buildExport, whole);
  expect((await test.file(key)).toString()).toBe((await test.file(whole)).toString());
});

it("has nothing to do for an export that is finished, or that somebody else has taken up", async () => {
  const finished = await order();
  await test.work(buildExport, finished);
  const taken = await order();
  await claimRun(test.db, taken, "first");
  await claimRun(test.db, taken, "second");
  for (const key of [finished, taken])
    expect((await test.work(helpExport, lateHelp(key, 1))).result).toEqual({ skipped: "nothing to do" });
});

it("finds no part to build where all are held", async () => {
  const key = await order();
  const { fence } = (await claimRun(test.db, key, "first"))!;
  await addPart(test.db, { ...key, fence }, { part: 0, layout: "one", range: {} });
  await claimPart(test.db, { ...key, runFence: fence, layout: "one" }, "first");
  expect((await test.work(helpExport, lateHelp(key, fence))).result).toEqual({ skipped: "no part is left" });
});

it("comes again while parts are laid out by somebody who lives, and has none of another layout", async () => {
  const key = await order();
  const run = (await claimRun(test.db, key, "first"))!;
  const claim = { ...key, fence: run.fence };
  const payload = lateHelp(key, run.fence);
  const help = async () => {
    const { result, enqueued } = await test.work(helpExport, payload, { settings });
    return [result.skipped, enqueued.map((next) => [next.payload, next.options])];
  };
  const again = [
    "no part is laid out yet",
    [[{ ...payload, turn: 1 }, expect.objectContaining({ delayMs: 500, isLowPriority: true })]],
  ];
  const never = ["no part is left", []];
  expect(await help()).toEqual(again);
  await addPart(test.db, claim, { part: 0, layout: "of another release", range: { to: ["2025-03-02", ""] } });
  expect(await help()).toEqual(never);
  await removeParts(test.db, claim);
  await test.pool.query("update runs set heartbeat_at = now() - interval '1 minute' where run_id = $1", [
    key.runId,
  ]);
  expect(await help()).toEqual(never);
});
