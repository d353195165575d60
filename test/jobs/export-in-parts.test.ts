import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import * as xlsx from "@e965/xlsx";
import ExcelJS from "exceljs";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createCopySource } from "../../src/db/copy.js";
import { type ExportPart, readParts } from "../../src/db/queries/export-parts.js";
import { type RunKey, requestCancel } from "../../src/db/queries/runs.js";
import type { ArtifactContent } from "../../src/db/schema.js";
import { buildExport } from "../../src/jobs/build-export.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { readByHyparquet } from "../exports/parquet-readers.js";
import {
  foldAll,
  newEvent,
  openWork,
  seedMessages,
  seedRange,
  storeEvents,
  type TestWork,
  testSettings,
} from "../support/work.js";

const PART_ROWS = 3;
const settings = { ...testSettings, exportPartRows: PART_ROWS, exportParallelism: 3 };

let test: TestWork;
let rows: number;
beforeAll(async () => {
  test = await openWork();
  rows = await seedMessages(test, "shop");
});
afterAll(() => test.close());

/** The parts that were read, by the order in which their statements came. */
let read: string[];
/** Runs before a part is read, with the number of parts that were read before. */
let beforeRead: (count: number, signal: AbortSignal) => Promise<void>;
beforeEach(() => {
  read = [];
  beforeRead = async () => {};
});

function copyWith(): JobContext["copy"] {
  const copy = createCopySource(test.pool);
  return {
    ...copy,
    async streamAt(snapshot, sql, signal) {
      await beforeRead(read.length, signal);
      read.push(sql);
      return copy.streamAt(snapshot, sql, signal);
    },
  };
}

const order = (params: Record<string, unknown> = {}) =>
  test.insertRun("export", "shop", { dataset: "messages", format: "csv", ...seedRange, ...params });
const build = (key: RunKey, more: Partial<JobContext> = {}) =>
  test.work(buildExport, key, { settings, copy: copyWith(), ...more });
const contentOf = async (key: RunKey): Promise<ArtifactContent> => (await test.run(key)).artifact!.content!;

async function inOnePiece(params: Record<string, unknown>): Promise<Buffer> {
  const key = await order(params);
  await test.work(buildExport, key);
  return test.file(key);
}

const isDone = (part: ExportPart): boolean => part.done_at !== null;

describe("an export in parts", () => {
  it.each([
    { format: "csv" },
    { format: "csv", csv: { bom: true, delimiter: ";" } },
    { format: "json" },
    { format: "ndjson", filters: { channel_id: ["c0"] } },
    { format: "csv", dataset: "events", compression: "gzip" },
  ])("is the file that it is in one piece: %j", async (params) => {
    const key = await order(params);
    await build(key);
    const file = await test.file(key);
    const unpacked = params.compression ? gunzipSync(file) : file;
    const whole = await inOnePiece({ ...params, compression: "none" });
    expect(unpacked.toString()).toBe(whole.toString());
    const { artifact } = await test.run(key);
    expect(read.length).toBe(Math.ceil(artifact!.rows / PART_ROWS));
    expect(artifact).toMatchObject({
      bytes: file.length,
      sha256: createHash("sha256").update(file).digest("hex"),
    });
    expect(await readParts(test.db, key)).toEqual([]);
    expect((await test.work(buildExport, key)).result).toEqual({ skipped: "nothing to do" });
  });

  it("is a Parquet file with the row groups of all of them", async () => {
    const asked = { format: "parquet", compression: "gzip" };
    const key = await order(asked);
    await build(key);
    expect(read.length).toBe(Math.ceil(rows / PART_ROWS));
    expect((await test.run(key)).artifact).toMatchObject({
      content_type: "application/vnd.apache.parquet",
      file_name: "messages-2025-03-01-2025-03-04.parquet",
    });
    const records = await readByHyparquet(await test.file(key));
    expect(records).toHaveLength(rows);
    expect(records).toEqual(await readByHyparquet(await inOnePiece(asked)));
  });

  it("is a workbook with a sheet for each of them", async () => {
    const columns = ["message_id", "sent_at"];
    const key = await order({ dataset: "messages", format: "xlsx", columns });
    await build(key, { settings: { ...settings, exportPartRows: 2 } });
    // A sheet takes four times as many as other parts.
    const sheetRows = 8;
    const file = await test.file(key);
    const book = xlsx.read(file);
    expect(book.SheetNames).toEqual(["messages", "messages 2"]);
    const sheets = book.SheetNames.map((name) => xlsx.utils.sheet_to_json(book.Sheets[name]!));
    expect(sheets.map((sheet) => sheet.length)).toEqual([sheetRows, rows - sheetRows]);
    const whole = xlsx.read(await inOnePiece({ format: "xlsx", columns }));
    expect(sheets.flat()).toEqual(xlsx.utils.sheet_to_json(whole.Sheets.messages!));
    const strict = new ExcelJS.Workbook();
    await strict.xlsx.load(Uint8Array.from(file).buffer);
    expect(strict.worksheets.map((sheet) => sheet.rowCount)).toEqual([sheetRows + 1, rows - sheetRows + 1]);
  });

  it("says what each of its parts is, so that it can be checked", async () => {
    const key = await order({ format: "json" });
    await build(key);
    const file = await test.file(key);
    const { parts, consistency, columns, as_of } = await contentOf(key);
    expect(parts).toHaveLength(Math.ceil(rows / PART_ROWS));
    expect(parts.reduce((sum, part) => sum + part.rows, 0)).toBe(rows);
    for (const { offset, bytes, sha256 } of parts)
      expect(
        createHash("sha256")
          .update(file.subarray(offset, offset + bytes))
          .digest("hex"),
      ).toBe(sha256);
    expect(consistency).toBe("snapshot");
    expect(columns[1]).toEqual({ name: "message_id", type: "text" });
    expect(Date.parse(as_of)).toBeGreaterThan((await test.run(key)).created_at.getTime());
  });

  it("goes on where it was: parts that are done are not read again", async () => {
    const key = await order();
    beforeRead = async (count) => {
      if (count === 2) throw new Error("the connection broke");
    };
    await expect(build(key)).rejects.toThrow("the connection broke");
    expect((await readParts(test.db, key)).filter((part) => part.done_at)).toHaveLength(2);
    beforeRead = async () => {};
    await build(key);
    expect(read).toHaveLength(Math.ceil(rows / PART_ROWS));
    expect(new Set(read).size).toBe(read.length);
    expect((await test.file(key)).toString()).toBe((await inOnePiece({ format: "csv" })).toString());
    // The first two parts show the database as it was before.
    expect((await contentOf(key)).consistency).toBe("per_part");
  });

  it("goes on with the laying out, too, in parts of the size that is asked for now", async () => {
    const key = await order();
    const copy = copyWith();
    let ends = 0;
    const breaksOff: JobContext["copy"] = {
      ...copy,
      async holdSnapshot() {
        const held = await copy.holdSnapshot();
        const read: typeof held.read = async (...given) => {
          if (++ends < 3) return held.read(...given);
          // Two parts are laid out and built when the worker fails.
          await vi.waitFor(async () =>
            expect((await readParts(test.db, key)).map(isDone)).toEqual([true, true]),
          );
          throw new Error("the connection broke");
        };
        return { ...held, read };
      },
    };
    await expect(build(key, { copy: breaksOff })).rejects.toThrow("the connection broke");
    await build(key, { settings: { ...settings, exportPartRows: 2 } });
    expect((await test.file(key)).toString()).toBe((await inOnePiece({ format: "csv" })).toString());
    expect((await contentOf(key)).parts.map((part) => part.rows)).toEqual([
      3,
      3,
      ...Array((rows - 6) / 2).fill(2),
    ]);
    expect((await test.run(key)).progress_total_rows).toBe(rows);
  });

  it("looks for the files of its parts before it joins them, 16 at a time", async () => {
    const key = await order();
    let [now, most, all] = [0, 0, 0];
    const size = async (file: string) => {
      [now, all] = [now + 1, all + 1];
      most = Math.max(most, now);
      const bytes = await test.artifacts.size(file);
      now--;
      return bytes;
    };
    const one = { ...settings, exportPartRows: 1 };
    await build(key, { settings: one, artifacts: { ...test.artifacts, size } });
    expect([all, most]).toEqual([rows, Math.min(rows, 16)]);
  });

  it("is laid out anew while no part is done", async () => {
    const key = await order();
    beforeRead = async () => {
      throw new Error("the connection broke");
    };
    await expect(build(key)).rejects.toThrow("the connection broke");
    beforeRead = async () => {};
    await build(key);
    expect((await contentOf(key)).consistency).toBe("snapshot");
  });

  it("shows one moment, whatever is written meanwhile", async () => {
    const key = await order({ format: "ndjson" });
    const before = await inOnePiece({ format: "ndjson" });
    beforeRead = async (count) => {
      if (count !== 1) return;
      const [first, last] = ["2025-03-01T00:00:01.000Z", "2025-03-03T23:00:00.000Z"];
      await storeEvents(test, [
        newEvent("shop", "new1", "sent", first),
        newEvent("shop", "new2", "sent", last),
      ]);
      await foldAll(test, "shop");
    };
    await build(key);
    expect((await test.file(key)).toString()).toBe(before.toString());
    rows += 2;
    expect((await inOnePiece({ format: "ndjson" })).toString().match(/"new[12]"/g)).toHaveLength(2);
  });

  it("takes a part back from a worker that went silent, and whatever that one says later", async () => {
    const key = await order();
    beforeRead = async (count) => {
      if (count !== 1) return;
      // Somebody else has held the last part, and died.
      await vi.waitFor(async () => {
        const { rowCount } = await test.pool.query(
          `update export_parts set fence = 7, worker = 'dead', heartbeat_at = now() - interval '1 minute'
           where run_id = $1 and to_key is null`,
          [key.runId],
        );
        expect(rowCount).toBe(1);
      });
    };
    await build(key);
    expect((await test.file(key)).toString()).toBe((await inOnePiece({ format: "csv" })).toString());
    const { artifact } = await test.run(key);
    expect(artifact!.segments.at(-1)).toMatchObject({
      key: `${key.runId}/${Math.ceil(rows / PART_ROWS) - 1}-8`,
    });
  });

  it("leaves nothing when it is cancelled", async () => {
    const key = await order();
    beforeRead = async (count, signal) => {
      if (count !== 2) return;
      await requestCancel(test.db, key.accountId, key.runId);
      await once(signal, "abort");
      throw signal.reason;
    };
    expect((await build(key)).result).toEqual({ cancelled: true });
    expect((await test.run(key)).status).toBe("cancelled");
    expect(await readParts(test.db, key)).toEqual([]);
    expect(await readdir(test.artifactRoot)).not.toContain(key.runId);
  });
});
