import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPool } from "../../src/db/client.js";
import { createCopySource } from "../../src/db/copy.js";
import { selectRows } from "../../src/db/datasets/dataset.js";
import { messages } from "../../src/db/datasets/messages.js";
import { createDiskStore } from "../../src/exports/artifacts/disk.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { copySql, type RowFile, type RowFormat, streamRows } from "../../src/jobs/write-rows.js";
import { openWork, seedMessages, seedRange, type TestWork } from "../support/work.js";

let test: TestWork;
let copies: ReturnType<typeof createPool>;
beforeAll(async () => {
  test = await openWork();
  await seedMessages(test, "shop");
  copies = createPool({ url: test.url, name: "copies", size: 2, statementTimeoutMs: 0 }, () => {});
});
afterAll(async () => {
  await copies.end();
  await test.close();
});

/** Connections that nobody gave back. */
const held = () => copies.totalCount - copies.idleCount;

describe.each<[string, { format: RowFormat; pretty?: boolean }]>([
  ["CSV", { format: "csv" }],
  ["JSON", { format: "json" }],
  ["indented JSON", { format: "json", pretty: true }],
  ["NDJSON", { format: "ndjson" }],
  ["XLSX", { format: "xlsx" }],
])("as %s", (_, format) => {
  it("a stream that is destroyed before it was read gives its connection back", async () => {
    const selection = {
      accountId: "shop",
      from: new Date(seedRange.from),
      to: new Date(seedRange.to),
      filters: {},
    };
    const file: RowFile = {
      ...{ rows: selectRows(messages, selection), columns: messages.columns, name: "messages" },
      ...{ createdAt: new Date(), ...format },
    };
    const { signal } = new AbortController();
    const { source } = await createCopySource(copies).streamAt(undefined, copySql(file), signal);
    const { bytes } = streamRows(source, file);
    expect(held()).toBe(1);
    const closed = once(bytes, "close");
    bytes.destroy();
    await closed;
    await expect.poll(held).toBe(0);
  });

  it("a message log whose folder can't be made gives its connection back", async () => {
    const file = join(test.artifactRoot, "no-folder");
    await writeFile(file, "");
    const { format: name, pretty } = format;
    const key = await test.insertRun("report", "shop", {
      ...seedRange,
      template: "message-log",
      format: name,
      ...(pretty ? { json: { pretty } } : {}),
    });
    const work = test.work(buildReport, key, {
      artifacts: createDiskStore(file),
      copy: createCopySource(copies),
    });
    await expect(work).rejects.toMatchObject({ code: "ENOTDIR" });
    await expect.poll(held).toBe(0);
  });
});
