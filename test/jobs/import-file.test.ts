import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { requestCancel, restartRun } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { importFile } from "../../src/jobs/import-file.js";
import { Interrupted } from "../../src/jobs/interrupted.js";
import { uploadName } from "../../src/jobs/read-import.js";
import { rebuildConversationsJob } from "../../src/jobs/rebuild-conversations.js";
import { sweepFiles } from "../../src/jobs/sweep-files.js";
import { importNow, insertImport, messagesOf, rollupsOf } from "../support/imports.js";
import { foldAll, openWork, seedMessages, seedRange, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const report = async (key: Parameters<TestWork["file"]>[0]) =>
  (await test.file(key)).toString().split("\r\n");
const events = async (accountId: string) =>
  (
    await test.pool.query<{ count: number }>("select count(*) from message_events where account_id = $1", [
      accountId,
    ])
  ).rows[0]!.count;

/** A CSV file of so many events, a bad one at each of these rows. */
function eventsFile(count: number, bad: readonly number[] = []): string {
  const lines = ["type,message_id,occurred_at"];
  for (let row = 2; row < count + 2; row++)
    lines.push(`message.sent,m${row},${bad.includes(row) ? "soon" : "2026-03-01T09:00:00Z"}`);
  return `${lines.join("\n")}\n`;
}

/** Aborts the job once so many events are committed. */
function stopAfter(accountId: string, committed: number, why: "shutdown" | "timeout") {
  const controller = new AbortController();
  const timer = setInterval(async () => {
    if ((await events(accountId)) >= committed) controller.abort(new Interrupted(why, "stopped by the test"));
  }, 2);
  controller.signal.addEventListener("abort", () => clearInterval(timer));
  return controller.signal;
}

describe("an import of events", () => {
  it("takes the good rows, reports the bad ones, and does nothing the second time", async () => {
    const file = [
      "Type,Message ID,occurredAt,extra,text_length,tags",
      "message.sent,a,2026-03-01T09:00:00Z,x,,vip|de",
      'message.read,a,"2026-03-01T09:00:05Z",x,,',
      "message.flown,b,2026-03-01T09:00:00Z,x,many,",
      "message.sent,,2026-03-01T09:00:00Z,x,,",
      '"message.sent","with\nline","2026-03-01T09:00:00Z",x,,',
      "message.sent,a,2026-03-01T09:00:00Z,x,,",
      "message.sent,nul\0,2026-03-01T09:00:00Z,x,,",
      "",
      "message.sent,old,2001-03-01T09:00:00Z,x,,",
    ].join("\r\n");
    const { key, run } = await importNow(test, "events", { format: "events" }, file);
    expect(run.error).toBeNull();
    expect(run).toMatchObject({
      status: "succeeded",
      result: { rows: 8, accepted: 3, duplicates: 1, rejected: 4, skipped: 0, ignored_columns: ["extra"] },
      progress_rows: 8,
      progress_bytes: Buffer.byteLength(file),
      upload: { removed: true },
    });
    expect(await report(key)).toEqual([
      "row,field,code,message",
      "4,text_length,invalid_value,must be a whole number",
      "5,message_id,missing_field,message_id: is required for message.sent",
      "8,message_id,invalid_text,message_id: must not hold NUL or an unpaired surrogate",
      "10,occurred_at,time_out_of_range,occurred_at: must lie between 2009-01-01 and 24 hours from now",
      "",
    ]);
    expect(run.artifact).toMatchObject({ rows: 4, file_name: `import-problems-${key.runId}.csv` });
    expect(await test.artifacts.size(uploadName(key.runId))).toBeUndefined();
    expect((await test.work(importFile, key)).result).toEqual({ skipped: "nothing to do" });
    await foldAll(test, "events");
    expect(await messagesOf(test, "events")).toMatchObject([
      { message_id: "a", tags: ["vip", "de"], direction: "outbound" },
      { message_id: "with\nline" },
    ]);
  });

  it("asks for a fold of its account", async () => {
    const key = await insertImport(test, "woken", { format: "events" }, eventsFile(10));
    const { enqueued } = await test.work(importFile, key);
    expect(enqueued.at(-1)).toMatchObject({ kind: "events.fold", payload: { accountId: "woken" } });
  });

  it("counts a file that comes again as duplicates, and has an empty report", async () => {
    const file = eventsFile(2_500);
    await importNow(test, "again", { format: "events" }, file);
    const { key, run } = await importNow(test, "again", { format: "events" }, file);
    expect(run.result).toMatchObject({ rows: 2_500, accepted: 0, duplicates: 2_500, rejected: 0 });
    expect(await report(key)).toEqual(["row,field,code,message", ""]);
  });
});

describe("an import into an account whose old messages are gone", () => {
  const floorOf = (accountId: string, floor: string) =>
    test.pool.query("update accounts set messages_from = $2 where account_id = $1", [accountId, floor]);

  it("refuses the rows that are too old, whole messages too", async () => {
    await importNow(test, "floor", { format: "events" }, eventsFile(1));
    await floorOf("floor", "2026-01-01");
    const file = [
      "message_id,sent_at,delivered_at",
      "old,2025-03-01T09:00:00Z,",
      "both,2025-12-31T23:59:59Z,2026-01-01T00:00:01Z",
      "young,2026-01-01T00:00:00Z,",
    ].join("\n");
    const { key, run } = await importNow(test, "floor", { format: "messages" }, file);
    expect(run.result).toMatchObject({ rows: 3, accepted: 1, duplicates: 0, rejected: 2 });
    const problem =
      "occurred_at,too_old,occurred_at: the account keeps messages from 2026-01-01T00:00:00.000Z on";
    expect(await report(key)).toEqual(["row,field,code,message", `2,${problem}`, `3,${problem}`, ""]);
    await foldAll(test, "floor");
    expect(await messagesOf(test, "floor")).toMatchObject([{ message_id: "m2" }, { message_id: "young" }]);
  });

  it("judges in a later attempt as in the first one", async () => {
    const key = await insertImport(test, "risen", { format: "events" }, eventsFile(3_000));
    const stop = new AbortController();
    // After its first batch it asks for a fold.
    const enqueue = async () => stop.abort(new Interrupted("shutdown", "stopped by the test"));
    await expect(test.work(importFile, key, { signal: stop.signal, enqueue })).rejects.toThrow("stopped");
    expect((await test.run(key)).cursor).toMatchObject({ accepted: 1_000, messages_from: null });
    await floorOf("risen", "2026-04-01");
    await test.work(importFile, key);
    expect((await test.run(key)).result).toMatchObject({ accepted: 3_000, rejected: 0 });
  });
});

describe("an import that is stopped midway", () => {
  const total = 20_000;
  const bad = [3, 1_500, 19_000];

  it("goes on after the last committed batch when its worker is drained, and counts exactly", async () => {
    const key = await insertImport(test, "drained", { format: "events" }, eventsFile(total, bad));
    await expect(
      test.work(importFile, key, { signal: stopAfter("drained", 2_000, "shutdown") }),
    ).rejects.toThrow("stopped by the test");
    const stopped = await test.run(key);
    expect(stopped).toMatchObject({ status: "queued", artifact: null });
    expect(stopped.cursor!.accepted).toBe(await events("drained"));
    expect(stopped.cursor!.rows).toBeLessThan(total);
    await test.work(importFile, key);
    const run = await test.run(key);
    expect(run.result).toMatchObject({ rows: total, accepted: total - 3, duplicates: 0, rejected: 3 });
    expect((await report(key)).map((line) => line.split(",")[0])).toEqual(["row", "3", "1500", "19000", ""]);
    expect(await events("drained")).toBe(total - 3);
  });

  it("is taken over from a worker that was taken for dead, which can store nothing any more", async () => {
    const key = await insertImport(test, "zombie", { format: "events" }, eventsFile(total));
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let frozen = () => {};
    const isFrozen = new Promise<void>((resolve) => {
      frozen = resolve;
    });
    const zombie = test.work(importFile, key, {
      enqueue: async () => {
        frozen();
        await gate;
      },
    });
    await isFrozen;
    await test.work(importFile, key);
    const run = await test.run(key);
    release();
    expect((await zombie).result).toEqual({ skipped: "fenced" });
    expect(await test.run(key)).toEqual(run);
    expect(run.result).toMatchObject({ rows: total, accepted: total, duplicates: 0 });
    expect(await report(key)).toHaveLength(2);
  });

  it("ends within two seconds of a cancel, and can be started over", async () => {
    const rows = function* () {
      yield "type,message_id,occurred_at\n";
      for (let i = 0; i < 300; i++)
        yield eventsFile(1_000).slice("type,message_id,occurred_at\n".length).replaceAll(",m", `,${i}-`);
    };
    const key = await insertImport(test, "cancelled", { format: "events" }, Readable.from(rows()));
    const working = test.work(importFile, key);
    await vi.waitFor(async () => expect(await events("cancelled")).toBeGreaterThan(0), { timeout: 10_000 });
    await requestCancel(test.db, key.accountId, key.runId);
    const askedAt = Date.now();
    expect((await working).result).toEqual({ cancelled: true });
    expect(Date.now() - askedAt).toBeLessThan(2_000);
    const run = await test.run(key);
    expect(run).toMatchObject({ status: "cancelled", artifact: null });
    expect(run.upload!.removed).toBeUndefined();
    expect(run.cursor!.accepted).toBe(await events("cancelled"));
    expect((await restartRun(test.db, key.accountId, key.runId))!.generation).toBe(2);
  });
});

describe("a file that cannot be read", () => {
  it.each([
    ["missing_columns", "events", "a,b\n1,2\n"],
    ["missing_columns", "messages", "\u0000\u0001\u0002"],
    ["nothing_imported", "events", "type,occurred_at\nx,y\nx,y\n"],
    ["row_too_long", "events", `type,occurred_at\n"${"x\n".repeat(700_000)}`],
    ["ambiguous_header", "events", "type,Type,occurred_at\n"],
    ["zip_not_read", "events", "PK\u0003\u0004 and so on"],
  ])("fails with %s at once", async (code, format, file) => {
    const { run } = await importNow(test, "unreadable", { format }, file);
    expect(run).toMatchObject({ status: "failed", error: { code }, attempt: 1 });
    expect(run.error!.message).toMatch(/\.$|\)\.$|\?$/);
  });

  it.each([
    ["not_a_chat", {}, "hello"],
    ["me_not_found", {}, "[01.03.2025, 10:00:00] Ann: hi\n[01.03.2025, 10:00:00] Bob: hi"],
    ["chat_id_required", { me: "Ann" }, "[13.03.2025, 10:00:00] Ann: hi"],
    ["date_order_unclear", { me: "Ann" }, "[01.03.2025, 10:00:00] Ann: hi\n[01.03.2025, 10:00:00] Bob: hi"],
    ["unreadable_zip", {}, "PK\u0003\u0004 and so on"],
  ])("fails with %s when it is no usable chat", async (code, params, file) => {
    const asked = { format: "chat", me: "Zoe", time_zone: "UTC", ...params };
    const { run } = await importNow(test, "unreadable", asked, file);
    expect(run).toMatchObject({ status: "failed", error: { code }, attempt: 1 });
  });

  it("fails when it is gone", async () => {
    const key = await insertImport(test, "gone", { format: "events" }, "x");
    await test.artifacts.remove(uploadName(key.runId));
    await expect(test.work(importFile, key)).rejects.toThrow();
    expect((await test.run(key)).error).toMatchObject({ code: "upload_gone" });
  });
});

describe("a chat without seconds", () => {
  const days = Array.from({ length: 20 }, (_, index) => String(index + 1).padStart(2, "0"));
  /** Each day the customer asks and is answered within the same minute, three times over. */
  const lines = days.flatMap((day) =>
    [1, 2, 3].flatMap((n) => [
      `${day}/04/26, 09:30 - Ann: question ${day}.${n}\n`,
      `${day}/04/26, 09:30 - Shop: answer ${day}.${n}\n`,
    ]),
  );
  const asked = { format: "chat", me: "Shop", time_zone: "UTC", date_order: "dmy" };

  it("has every question answered, and an export of a part of it changes nothing", async () => {
    const counted = async () => {
      await foldAll(test, "android");
      await test.work(rebuildConversationsJob, { accountId: "android" });
      const { rows } = await test.pool.query(
        `select count(*)::integer as turns, count(answered_at)::integer as answered,
                (select count(*)::integer from messages where account_id = 'android') as messages
         from conversation_turns where account_id = 'android' and lens & 1 = 1`,
      );
      return rows[0];
    };
    // It begins in the middle of a minute, and is imported before what knows more of it.
    await importNow(test, "android", asked, lines.slice(40).join(""));
    expect(await counted()).toEqual({ turns: 40, answered: 40, messages: 80 });
    const { run } = await importNow(test, "android", asked, lines.join(""));
    expect(run.result).toMatchObject({ accepted: 42, duplicates: 78 });
    expect(await counted()).toEqual({ turns: 60, answered: 60, messages: 120 });
    const messages = await messagesOf(test, "android");
    expect((await importNow(test, "android", asked, lines.join(""))).run.result).toMatchObject({
      accepted: 0,
      duplicates: 120,
    });
    await importNow(test, "android", asked, lines.slice(27, 80).join(""));
    expect(await counted()).toEqual({ turns: 60, answered: 60, messages: 120 });
    expect(await messagesOf(test, "android")).toEqual(messages);
  });
});

describe("a round trip", () => {
  it.each([{}, { csv: { delimiter: ";", bom: true, null: "\\N" } }])(
    "of an account's messages into another account changes nothing (%o)",
    async (options) => {
      const target = `copy-${Object.keys(options).length}`;
      await seedMessages(test, "shop");
      const exported = await test.insertRun("export", "shop", {
        dataset: "messages",
        format: "csv",
        ...seedRange,
        ...options,
      });
      await test.work(buildExport, exported);
      const nulls = options.csv ? { null: options.csv.null } : {};
      const { run } = await importNow(
        test,
        target,
        { format: "messages", ...nulls },
        await test.file(exported),
      );
      expect(run).toMatchObject({ status: "succeeded", result: { rejected: 0 } });
      await foldAll(test, target);
      const messages = await messagesOf(test, target);
      expect(messages.length).toBeGreaterThan(10);
      expect(messages).toEqual(await messagesOf(test, "shop"));
      expect(await rollupsOf(test, target)).toEqual(await rollupsOf(test, "shop"));
    },
  );
});

describe("the upload", () => {
  it("stays for a retry until its time is over, also for the sweep of orphans", async () => {
    const key = await insertImport(test, "kept", { format: "events" }, "no,columns\n");
    await test.work(importFile, key).catch(() => {});
    expect(
      (await test.work(sweepFiles, {}, { now: () => new Date(Date.now() + 7_200_000) })).result,
    ).toMatchObject({
      uploads: 0,
    });
    expect(await test.artifacts.size(uploadName(key.runId))).toBeGreaterThan(0);
    await test.pool.query("update runs set updated_at = now() - interval '2 hours' where run_id = $1", [
      key.runId,
    ]);
    expect((await test.work(sweepFiles, {})).result).toMatchObject({ uploads: 1 });
    expect(await test.artifacts.size(uploadName(key.runId))).toBeUndefined();
    expect(await restartRun(test.db, key.accountId, key.runId)).toBeUndefined();
  });
});
