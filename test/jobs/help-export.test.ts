import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { Db } from "../../src/db/client.js";
import { createCopySource } from "../../src/db/copy.js";
import { addPart, claimPart, type ExportPart, readParts } from "../../src/db/queries/export-parts.js";
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

it("waits for parts while they are laid out", async () => {
  const key = await order();
  const { db, hasLooked } = watched();
  const copy = createCopySource(test.pool);
  const help: unknown[] = [];
  let [ends, reads] = [0, 0];
  let helping: Promise<{ result: unknown }> | undefined;
  const slowly: JobContext["copy"] = {
    async holdSnapshot() {
      const held = await copy.holdSnapshot();
      const read: typeof held.read = async (sql, signal) => {
        // All that is laid out is built before a third end is found.
        if (++ends === 3) {
          await vi.waitFor(async () => expect((await readParts(test.db, key)).every(isDone)).toBe(true));
          helping = test.work(helpExport, help[0] as never, { settings, db, worker: "other" });
          await hasLooked;
        }
        return held.read(sql, signal);
      };
      return { ...held, read };
    },
    async streamAt(...given) {
      if (++reads > 2) await helping;
      return copy.streamAt(...given);
    },
  };
  const enqueue: JobContext["enqueue"] = async (_job, payload) => void help.push(payload);
  await test.work(buildExport, key, { settings, copy: slowly, enqueue });
  expect((await helping)!.result).toMatchObject({ parts: 1 });
  expect((await test.run(key)).artifact!.rows).toBe(messages);
});

it("waits no longer than somebody has the run", async () => {
  const key = await order();
  const { fence } = (await claimRun(test.db, key, "first"))!;
  const { db, hasLooked } = watched();
  const helping = test.work(helpExport, lateHelp(key, fence), { db });
  await hasLooked;
  await claimRun(test.db, key, "second");
  expect((await helping).result).toEqual({ skipped: "no part is left" });
});

const isDone = (part: ExportPart): boolean => part.done_at !== null;

/** A database, and when it has been asked whether parts are still laid out. */
function watched(): { db: Db; hasLooked: Promise<void> } {
  let look = () => {};
  const hasLooked = new Promise<void>((resolve) => (look = resolve));
  const db = test.db.withPlugin({
    transformQuery({ node }) {
      if (JSON.stringify(node).includes("to_key is null")) look();
      return node;
    },
    transformResult: async ({ result }) => result,
  });
  return { db, hasLooked };
}
