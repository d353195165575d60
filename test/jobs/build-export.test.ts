import { createHash } from "node:crypto";
import * as zlib from "node:zlib";
import * as xlsx from "@e965/xlsx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildExport } from "../../src/jobs/build-export.js";
import { servedAs } from "../../src/jobs/publish-file.js";
import { exportRequest } from "../../src/jobs/run-requests.js";
import { openWork, seedMessages, seedRange, type TestWork } from "../support/work.js";

let test: TestWork;
let messages: number;
beforeAll(async () => {
  test = await openWork();
  messages = await seedMessages(test, "shop");
  await seedMessages(test, "other");
});
afterAll(() => test.close());

async function build(params: Record<string, unknown>): Promise<string> {
  return (await buildFile(params)).toString();
}

/** The file itself, whose name ends in `suffix` after its format. */
async function buildFile(params: Record<string, unknown>, suffix = ""): Promise<Buffer> {
  const key = await test.insertRun("export", "shop", { dataset: "messages", ...seedRange, ...params });
  await test.work(buildExport, key);
  const run = await test.run(key);
  expect(run).toMatchObject({ status: "succeeded", error: null });
  expect((await test.work(buildExport, key)).result).toEqual({ skipped: "nothing to do" });
  expect(await test.run(key)).toEqual(run);
  const bytes = await test.file(key);
  expect(run.artifact).toMatchObject({
    bytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    file_name: `messages-2025-03-01-2025-03-04.${params.format}${suffix}`,
  });
  return bytes;
}

describe("an export", () => {
  it("has the columns that were asked for, in that order, and the rows of its account", async () => {
    const csv = (await build({ format: "csv", columns: ["status", "message_id"] })).split("\r\n");
    expect(csv.shift()).toBe("status,message_id");
    expect(csv.pop()).toBe("");
    expect(csv).toHaveLength(messages);
    expect(csv).toContain("read,m0");
    const lines = (await build({ format: "ndjson", columns: ["status", "message_id"] }))
      .trimEnd()
      .split("\n");
    const rows = lines.map((line) => JSON.parse(line) as Record<string, string>);
    expect(rows.map((row) => `${row.status},${row.message_id}`)).toEqual(csv);
  });

  it("has every column without a choice, and the rows that its filters leave", async () => {
    const [row, ...others] = (await build({ format: "ndjson", filters: { error_code: ["131026"] } }))
      .trimEnd()
      .split("\n");
    expect(others).toEqual([]);
    expect(JSON.parse(row!)).toMatchObject({
      account_id: "shop",
      message_id: "f1",
      status: "failed",
      sent_at: null,
    });
    expect(Object.keys(JSON.parse(row!))).toHaveLength(20);
  });

  it("is one array as JSON, and a workbook in UTC as XLSX", async () => {
    const columns = ["message_id", "sent_at"];
    const lines = await build({ format: "ndjson", columns });
    const rows = JSON.parse(await build({ format: "json", columns })) as Record<string, string | null>[];
    expect(rows.map((row) => `${JSON.stringify(row)}\n`).join("")).toBe(lines);
    const book = xlsx.read(await buildFile({ format: "xlsx", columns }));
    expect(book.SheetNames).toEqual(["messages"]);
    const [head, ...cells] = xlsx.utils.sheet_to_json<unknown[]>(book.Sheets.messages!, { header: 1 });
    expect(head).toEqual(["message_id", "sent_at (UTC)"]);
    const days = (time: string | null) =>
      time === null ? undefined : Date.parse(time) / 86_400_000 + 25_569;
    expect(cells.map(([id]) => id)).toEqual(rows.map((row) => row.message_id));
    cells.forEach(([, time], i) => {
      const expected = days(rows[i]!.sent_at!);
      if (expected === undefined) expect(time).toBeUndefined();
      else expect(time).toBeCloseTo(expected, 9);
    });
  });

  it.each([
    { compression: "gzip", suffix: ".gz", contentType: "application/gzip", unpack: zlib.gunzipSync },
    {
      ...{ compression: "zstd", suffix: ".zst", contentType: "application/zstd" },
      unpack: (zlib as { zstdDecompressSync?: (bytes: Buffer) => Buffer }).zstdDecompressSync,
    },
  ])(
    "may be compressed by $compression: the same bytes within, and each time the same file",
    async (kind) => {
      const { compression, suffix, contentType, unpack } = kind;
      const asked = { account_id: "shop", dataset: "messages", format: "csv", ...seedRange, compression };
      if (!unpack) {
        expect(exportRequest.safeParse(asked).error?.issues).toMatchObject([
          { path: ["compression"], message: "needs a server with Node 22.15 or later" },
        ]);
        return;
      }
      const packed = await buildFile({ format: "csv", compression }, suffix);
      expect(unpack(packed).toString()).toBe(await build({ format: "csv" }));
      expect((await buildFile({ format: "csv", compression }, suffix)).equals(packed)).toBe(true);
      expect(servedAs({ name: "a", format: "csv", compression: compression as "gzip" })).toEqual({
        file_name: `a.csv${suffix}`,
        content_type: contentType,
      });
    },
  );

  it("is not compressed twice", () => {
    const asked = {
      account_id: "shop",
      dataset: "messages",
      format: "xlsx",
      ...seedRange,
      compression: "gzip",
    };
    expect(exportRequest.safeParse(asked).error?.issues).toMatchObject([
      { path: ["compression"], message: "is not for the format xlsx, which is compressed already" },
    ]);
  });

  it("is a header alone when there is nothing", async () => {
    const range = { from: "2024-03-01T00:00:00Z", to: "2024-03-02T00:00:00Z" };
    const key = await test.insertRun("export", "shop", {
      dataset: "messages",
      format: "csv",
      columns: ["status"],
      ...range,
    });
    await test.work(buildExport, key);
    expect((await test.file(key)).toString()).toBe("status\r\n");
    expect((await test.run(key)).artifact?.rows).toBe(0);
  });
});
