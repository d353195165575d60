import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildExport } from "../../src/jobs/build-export.js";
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
    file_name: `messages-2025-03-01-2025-03-04.${params.format}`,
  });
  return bytes.toString();
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
