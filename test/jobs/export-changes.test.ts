import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { createCopySource } from "../../src/db/copy.js";
import type { RunKey } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { helpExport } from "../../src/jobs/help-export.js";
import { readByHyparquet } from "../exports/parquet-readers.js";
import {
  foldAll,
  newEvent,
  openWork,
  seedMessages,
  storeEvents,
  type TestWork,
  testSettings,
} from "../support/work.js";

const PART_ROWS = 3;
const settings = { ...testSettings, exportPartRows: PART_ROWS, exportParallelism: 2 };

let test: TestWork;
let messages: number;
beforeAll(async () => {
  test = await openWork();
  messages = await seedMessages(test, "shop");
});
afterAll(() => test.close());

const order = (params: Record<string, unknown> = {}) =>
  test.insertRun("export", "shop", { dataset: "messages", format: "ndjson", since: "start", ...params });
const contentOf = async (key: RunKey) => (await test.run(key)).artifact!.content!;
const cursorOf = async (key: RunKey) => (await test.run(key)).result!.next_cursor as string;

async function inOnePiece(params: Record<string, unknown> = {}): Promise<RunKey> {
  const key = await order(params);
  await test.work(buildExport, key);
  expect((await contentOf(key)).parts).toHaveLength(1);
  return key;
}

/** Calls back before each part is read, with how many were read before. */
function copyWith(beforeRead: (count: number) => Promise<void>): JobContext["copy"] {
  const copy = createCopySource(test.pool);
  let count = 0;
  return {
    ...copy,
    async streamAt(snapshot, sql, signal) {
      await beforeRead(count++);
      return copy.streamAt(snapshot, sql, signal);
    },
  };
}

it("all messages, in parts that others help with, are the file that they are in one piece", async () => {
  const key = await order();
  const helped: unknown[] = [];
  let own = 0;
  const copy = copyWith(async () => {
    // The first part is taken; the next is built by somebody else.
    if (own++ > 0) return;
    await vi.waitFor(() => expect(help).not.toEqual([]));
    helped.push((await test.work(helpExport, help[0] as never, { settings, worker: "other" })).result);
  });
  const help: unknown[] = [];
  const enqueue: JobContext["enqueue"] = async (_job, payload) => void help.push(payload);
  await test.work(buildExport, key, { settings, copy, enqueue });
  expect(helped).toEqual([expect.objectContaining({ parts: 1 })]);
  const { parts, consistency } = await contentOf(key);
  expect(parts).toHaveLength(Math.ceil(messages / PART_ROWS));
  expect(own).toBe(parts.length - 1);
  expect(consistency).toBe("snapshot");
  const whole = await inOnePiece();
  expect((await test.file(key)).toString()).toBe((await test.file(whole)).toString());
  expect(await cursorOf(key)).toMatch(/^[\w-]{20,}$/);
});

it("all messages are one Parquet file, in parts as in one piece", async () => {
  const key = await order({ format: "parquet" });
  await test.work(buildExport, key, { settings });
  expect((await contentOf(key)).parts).toHaveLength(Math.ceil(messages / PART_ROWS));
  const whole = await inOnePiece({ format: "parquet" });
  expect(await readByHyparquet(await test.file(key))).toEqual(await readByHyparquet(await test.file(whole)));
});

it("changes since a cursor are in one piece, and nobody can help", async () => {
  const since = await cursorOf(await inOnePiece());
  const sent = (id: number) => newEvent("shop", `late${id}`, "sent", "2025-03-03T10:00:00Z");
  await storeEvents(test, [1, 2, 3, 4, 5].map(sent));
  await foldAll(test, "shop");
  const key = await order({ since });
  const results: unknown[] = [];
  const copy = copyWith(async () => {
    const { fence } = await test.run(key);
    const snapshot = { id: "none", takenAt: new Date().toISOString() };
    const help = { accountId: "shop", runId: key.runId, fence, snapshot, helper: 1, turn: 0 };
    results.push((await test.work(helpExport, help, { settings })).result);
  });
  await test.work(buildExport, key, { settings, copy });
  expect(results).toEqual([{ skipped: "not in parts" }]);
  expect((await contentOf(key)).parts).toHaveLength(1);
});

type Copy = Map<string, Record<string, unknown>>;

async function take(copy: Copy, key: RunKey): Promise<void> {
  for (const line of (await test.file(key)).toString().split("\n").filter(Boolean)) {
    const { op, ...row } = JSON.parse(line);
    if (op === "delete") copy.delete(row.message_id);
    else copy.set(row.message_id, row);
  }
}

it("a first copy from before and after a crash is the source's with the next changes", async () => {
  const key = await order();
  const dies = copyWith(async (count) => {
    if (count === 2) throw new Error("the connection broke");
  });
  await expect(test.work(buildExport, key, { settings, copy: dies })).rejects.toThrow("connection broke");
  // In parts that are done, and in others, something becomes new, changes and goes.
  const at = "2025-03-03T11:00:00Z";
  await storeEvents(test, [
    ...["a new one", "z new one"].map((id) => newEvent("shop", id, "sent", at)),
    ...["bare", "m7"].map((id) => newEvent("shop", id, "read", at)),
  ]);
  await foldAll(test, "shop");
  await test.pool.query(
    `with gone as (delete from messages where account_id = 'shop' and message_id in ('f1', 'm6') returning message_id)
     insert into message_changes (account_id, message_id) select 'shop', message_id from gone`,
  );
  let read = 0;
  const counts = copyWith(async () => void read++);
  await test.work(buildExport, key, { settings, copy: counts });
  const { parts, consistency } = await contentOf(key);
  expect(read).toBe(parts.length - 2);
  expect(consistency).toBe("per_part");
  const kept: Copy = new Map();
  await take(kept, key);
  expect(kept.size).toBe((await test.run(key)).artifact!.rows);
  const source: Copy = new Map();
  await take(source, await inOnePiece());
  expect(kept).not.toEqual(source);
  let since = await cursorOf(key);
  // Transactions of other tests hold back folds and changes.
  await expect
    .poll(async () => {
      await foldAll(test, "shop");
      const next = await order({ since });
      await test.work(buildExport, next);
      await take(kept, next);
      since = await cursorOf(next);
      return new Map([...kept].sort());
    })
    .toEqual(new Map([...source].sort()));
});
