import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import * as xlsx from "@e965/xlsx";
import ExcelJS from "exceljs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { templateDefinition } from "../../src/analytics/report-templates/definition.js";
import { createCopySource } from "../../src/db/copy.js";
import { readParts } from "../../src/db/queries/export-parts.js";
import { insertTemplate, replaceTemplate } from "../../src/db/queries/report-templates.js";
import { type RunKey, requestCancel } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { buildReport } from "../../src/jobs/build-report.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { helpExport } from "../../src/jobs/help-export.js";
import { openWork, seedMessages, seedRange, type TestWork, testSettings } from "../support/work.js";

const PART_ROWS = 3;
const settings = { ...testSettings, exportPartRows: PART_ROWS, exportParallelism: 2 };

let test: TestWork;
let rows: number;
beforeAll(async () => {
  test = await openWork();
  rows = await seedMessages(test, "shop");
});
afterAll(() => test.close());

const order = (params: Record<string, unknown> = {}) =>
  test.insertRun("report", "shop", { template: "message-log", format: "csv", ...seedRange, ...params });
const build = (key: RunKey, more: Partial<JobContext> = {}) =>
  test.work(buildReport, key, { settings, ...more });
const contentOf = async (key: RunKey) => (await test.run(key)).artifact!.content!;

async function inOnePiece(params: Record<string, unknown>): Promise<Buffer> {
  const key = await order(params);
  await test.work(buildReport, key);
  expect((await contentOf(key)).parts).toHaveLength(1);
  return test.file(key);
}

/** What is read, in `read`; calls back before, with how much was read by then. */
function copyWith(beforeRead: (count: number, signal: AbortSignal) => Promise<void> = async () => {}) {
  const source = createCopySource(test.pool);
  const read: string[] = [];
  const copy: JobContext["copy"] = {
    ...source,
    async streamAt(snapshot, sql, signal) {
      await beforeRead(read.length, signal);
      read.push(sql);
      return source.streamAt(snapshot, sql, signal);
    },
  };
  return { copy, read };
}

const listOf = (columns: string[]) => ({
  accountId: "shop",
  name: "sent",
  createdBy: "test",
  definition: templateDefinition.parse({
    title: "What was sent",
    sections: [
      { kind: "rows", id: "messages", dataset: "messages", columns, filters: { direction: ["outbound"] } },
    ],
  }),
});

describe("a list of messages in parts", () => {
  it.each([
    { format: "csv" },
    { format: "csv", csv: { bom: true, delimiter: ";" }, compression: "gzip" },
    { format: "json" },
    { format: "ndjson", filters: { channel_id: ["c0", null] } },
  ])("is the file that it is in one piece: %j", async (params) => {
    const key = await order(params);
    const { copy, read } = copyWith();
    await build(key, { copy });
    const file = await test.file(key);
    const whole = await inOnePiece({ ...params, compression: "none" });
    expect((params.compression ? gunzipSync(file) : file).toString()).toBe(whole.toString());
    const { artifact, progress_total_rows: total } = await test.run(key);
    expect(read).toHaveLength(Math.ceil(artifact!.rows / PART_ROWS));
    expect(total).toBe(artifact!.rows);
    expect(artifact!.file_name).toBe(
      `message-log-2025-03-01-2025-03-04.${params.format}${params.compression ? ".gz" : ""}`,
    );
    const { parts, consistency, columns, as_of } = await contentOf(key);
    expect(parts).toHaveLength(read.length);
    expect([consistency, columns[1]]).toEqual(["snapshot", { name: "message_id", type: "text" }]);
    expect(Date.parse(as_of)).toBeGreaterThan((await test.run(key)).created_at.getTime());
    expect(await readParts(test.db, key)).toEqual([]);
    expect((await build(key)).result).toEqual({ skipped: "nothing to do" });
  });

  it("is a workbook with a sheet for each of them, in the zone and with the head of the report", async () => {
    const asked = { format: "xlsx", time_zone: "Asia/Kolkata" };
    const key = await order(asked);
    // A sheet takes four times as many rows as other parts.
    await build(key, { settings: { ...settings, exportPartRows: 2 } });
    const [book, whole] = [new ExcelJS.Workbook(), new ExcelJS.Workbook()];
    const files = [await test.file(key), await inOnePiece(asked)] as const;
    await book.xlsx.load(Uint8Array.from(files[0]).buffer);
    await whole.xlsx.load(Uint8Array.from(files[1]).buffer);
    expect(book.worksheets.map(({ name, rowCount }) => [name, rowCount])).toEqual([
      ["messages", 9],
      ["messages 2", rows - 8 + 1],
    ]);
    expect([book.title, book.description]).toEqual(["message-log", whole.description]);
    expect(book.description).toContain("Times in Asia/Kolkata.");
    const head = (sheet: ExcelJS.Worksheet) => sheet.getRow(1).values;
    for (const sheet of book.worksheets) expect(head(sheet)).toEqual(head(whole.worksheets[0]!));
    expect(JSON.stringify(head(book.worksheets[1]!))).toContain("sent_at (Asia/Kolkata)");
    const [cells, all] = files.map((file) => {
      const { SheetNames, Sheets } = xlsx.read(file);
      return SheetNames.flatMap((name) => xlsx.utils.sheet_to_json(Sheets[name]!));
    });
    expect(cells).toEqual(all);
  });

  it("is one piece as an indented document", async () => {
    const asked = { format: "json", json: { pretty: true } };
    const key = await order(asked);
    await build(key);
    const { parts } = await contentOf(key);
    expect(parts).toHaveLength(1);
    expect(JSON.parse((await test.file(key)).toString()).messages).toHaveLength(rows);
  });

  it("is built with the help of another worker, each part once", async () => {
    const key = await order({ format: "xlsx", time_zone: "Asia/Kolkata" });
    const help: unknown[] = [];
    const helped: unknown[] = [];
    const { copy, read } = copyWith(async (count) => {
      // The first sheet is taken; the next is built by somebody else.
      if (count > 0) return;
      await vi.waitFor(() => expect(help).not.toEqual([]));
      helped.push((await test.work(helpExport, help[0] as never, { settings: two, worker: "other" })).result);
    });
    const two = { ...settings, exportPartRows: 1 };
    const enqueue: JobContext["enqueue"] = async (job, payload, options) => {
      expect([job.queue, options?.isLowPriority]).toEqual(["exports", true]);
      help.push(payload);
    };
    await build(key, { settings: two, copy, enqueue });
    expect(helped).toEqual([expect.objectContaining({ parts: 1 })]);
    const { parts, consistency } = await contentOf(key);
    expect([parts.length, read.length, consistency]).toEqual([3, 2, "snapshot"]);
    const alone = await order({ format: "xlsx", time_zone: "Asia/Kolkata" });
    await test.pool.query(
      "update runs set created_at = (select created_at from runs where run_id = $1) where run_id = $2",
      [key.runId, alone.runId],
    );
    await build(alone, { settings: two });
    expect((await test.run(alone)).artifact!.sha256).toBe((await test.run(key)).artifact!.sha256);
  });

  it("goes on after a crash as it was asked for: no part is built twice, whatever has become of its template", async () => {
    await insertTemplate(test.db, listOf(["message_id", "contact_id"]));
    const pinned = { template: "sent", template_version: 1 };
    const key = await order(pinned);
    const dies = copyWith(async (count) => {
      if (count === 2) throw new Error("the connection broke");
    });
    await expect(build(key, { copy: dies.copy })).rejects.toThrow("the connection broke");
    await replaceTemplate(test.db, listOf(["message_id"]));
    const goesOn = copyWith();
    await build(key, { copy: goesOn.copy });
    const read = [...dies.read, ...goesOn.read];
    expect([dies.read.length, new Set(read).size]).toEqual([2, read.length]);
    expect((await contentOf(key)).consistency).toBe("per_part");
    expect((await test.file(key)).toString()).toBe((await inOnePiece(pinned)).toString());
    expect((await contentOf(key)).columns.map(({ name }) => name)).toEqual(["message_id", "contact_id"]);
  });

  it("leaves nothing when it is cancelled", async () => {
    const key = await order();
    const { copy } = copyWith(async (count, signal) => {
      if (count !== 2) return;
      await requestCancel(test.db, key.accountId, key.runId);
      await once(signal, "abort");
      throw signal.reason;
    });
    expect((await build(key, { copy })).result).toEqual({ cancelled: true });
    expect(await readParts(test.db, key)).toEqual([]);
    expect(await readdir(test.artifactRoot)).not.toContain(key.runId);
  });

  it("ends the statement that cuts it into parts when it is cancelled", async () => {
    const key = await order();
    const source = createCopySource(test.pool);
    const holdSnapshot = async () => {
      const held = await source.holdSnapshot();
      const read: typeof held.read = async (_sql, signal) => {
        await requestCancel(test.db, key.accountId, key.runId);
        return held.read("select pg_sleep(600)", signal);
      };
      return { ...held, read };
    };
    expect((await build(key, { copy: { ...source, holdSnapshot } })).result).toEqual({ cancelled: true });
    const sleeping = "select from pg_stat_activity where state = 'active' and query = 'select pg_sleep(600)'";
    expect((await test.pool.query(sleeping)).rows).toEqual([]);
  });

  it("of a page is refused for good", async () => {
    await expect(build(await order({ format: "html" }))).rejects.toMatchObject({ code: "other_template" });
  });
});

describe("where there are no rows", () => {
  const none = { from: "2024-01-01T00:00:00Z", to: "2024-01-02T00:00:00Z" };

  it.each([
    { kind: "report", job: buildReport, about: { template: "message-log" } },
    { kind: "export", job: buildExport, about: { dataset: "messages" } },
  ] as const)("no snapshot is taken and nothing is copied for the $kind", async ({ kind, job, about }) => {
    const key = await test.insertRun(kind, "shop", { ...about, format: "json", ...none });
    const { copy, read } = copyWith();
    const holdSnapshot = async () => {
      throw new Error("a snapshot");
    };
    await test.work(job, key, { copy: { ...copy, holdSnapshot } });
    expect((await test.file(key)).toString()).toBe("[]\n");
    expect(read).toEqual([]);
    const { as_of, consistency, parts, columns } = await contentOf(key);
    expect(Date.parse(as_of)).toBeGreaterThan((await test.run(key)).created_at.getTime());
    expect([consistency, parts.length, columns.length]).toEqual(["snapshot", 1, 20]);
  });
});
