import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as xlsx from "@e965/xlsx";
import { parse as parseCsv } from "csv-parse/sync";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildExport } from "../../src/jobs/build-export.js";
import { openRange } from "../../src/jobs/open-dataset.js";
import { rebuildConversationsJob } from "../../src/jobs/rebuild-conversations.js";
import { exportRequest, type RangeRequest } from "../../src/jobs/run-requests.js";
import { readByHyparquet } from "../exports/parquet-readers.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import {
  foldAll,
  newEvent,
  openWork,
  seedMessages,
  seedRange,
  storeEvents,
  type TestWork,
} from "../support/work.js";

type Row = Record<string, unknown>;

let app: TestApp;
let test: TestWork;
beforeAll(async () => {
  app = await startTestApp();
  const artifactRoot = await mkdtemp(join(tmpdir(), "datasets-test-"));
  const { db, pool, databaseUrl: url } = app.context;
  test = await openWork({ test: { db, pool, url, close: async () => {} }, artifactRoot });
  for (const accountId of ["shop", "other"]) {
    await seedMessages(app.context, accountId);
    await storeEvents(app.context, dialogue(accountId));
    await foldAll(app.context, accountId);
    await test.work(rebuildConversationsJob, { accountId });
  }
});
afterAll(async () => {
  await test.close();
  await app.close();
});

/** Ann writes on two days and is answered once, after four seconds; Bob writes before the days that are asked for. */
function dialogue(accountId: string) {
  const say = (id: string, type: string, time: string, contactId: string) =>
    newEvent(accountId, id, type, time, {
      contactId,
      chatId: contactId,
      channelId: "c0",
      contentKind: "text",
    });
  return [
    say("b1", "received", "2025-02-27T10:00:00.000Z", "bob"),
    say("a0", "received", "2025-02-27T10:00:00.000Z", "ann"),
    say("a1", "received", "2025-03-01T10:00:00.000Z", "ann"),
    say("a2", "sent", "2025-03-01T10:00:04.000Z", "ann"),
    say("a3", "received", "2025-03-03T10:00:00.000Z", "ann"),
    say("a4", "received", "2025-03-03T11:00:00.000Z", "ann"),
  ];
}

async function rowsOf(asked: Row): Promise<Row[]> {
  const key = await test.insertRun("export", "shop", { format: "ndjson", ...seedRange, ...asked });
  await test.work(buildExport, key);
  expect(await test.run(key)).toMatchObject({ status: "succeeded", error: null });
  return linesOf((await test.file(key)).toString());
}
const linesOf = (text: string) =>
  text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Row);

async function select(sql: string): Promise<Row[]> {
  const { rows } = await app.context.pool.query(sql);
  return JSON.parse(JSON.stringify(rows));
}

describe("the dataset", () => {
  it("events has a row an event as it was taken in, in the order of time", async () => {
    const rows = await rowsOf({ dataset: "events" });
    const stored = await select(
      `select event_key, type, message_id, error_code from message_events where account_id = 'shop'
         and occurred_at >= '${seedRange.from}' and occurred_at < '${seedRange.to}' order by occurred_at, event_key`,
    );
    expect(
      rows.map(({ event_key, type, message_id, error_code }) => ({
        event_key,
        type,
        message_id,
        error_code,
      })),
    ).toEqual(stored);
    expect(stored.length).toBeGreaterThan(20);
    expect(rows[0]).toMatchObject({
      account_id: "shop",
      time_quality: "provider",
      tags: null,
      text_length: null,
    });
    const failed = await rowsOf({
      dataset: "events",
      filters: { type: ["message.failed"] },
      columns: ["message_id"],
    });
    expect(failed).toEqual([{ message_id: "f1" }, { message_id: "f2" }]);
  });

  it("conversations has a row a conversation, with its durations in seconds", async () => {
    const ann = (await rowsOf({ dataset: "conversations" })).filter(({ chat_id }) => chat_id === "ann");
    expect(ann).toEqual([
      expect.objectContaining({
        started_at: "2025-03-01T10:00:00.000Z",
        ended_at: "2025-03-01T10:00:04.000Z",
        ...{ started_by: "inbound", inbound: 1, outbound: 1, duration_seconds: 4, outcome: "answered" },
        steps: expect.any(Array),
      }),
      expect.objectContaining({ inbound: 2, outbound: 0, duration_seconds: 3_600, outcome: "unanswered" }),
    ]);
    expect(await rowsOf({ dataset: "conversations", filters: { channel_id: ["nowhere"] } })).toEqual([]);
  });

  it("contacts has a row a contact that wrote in the range, and when it wrote for the first time", async () => {
    expect(await rowsOf({ dataset: "contacts" })).toEqual([
      expect.objectContaining({
        contact_id: "4915550009",
        first_day: "2025-03-01",
        active_days: 1,
        messages: 1,
      }),
      {
        account_id: "shop",
        contact_id: "ann",
        first_day: "2025-02-27",
        first_day_in_range: "2025-03-01",
        last_day_in_range: "2025-03-03",
        active_days: 2,
        messages: 3,
      },
    ]);
  });

  it("metrics has the rows of the metrics API", async () => {
    const asked = {
      metrics: ["messages_attempted", "delivery_rate", "time_to_deliver_p50"],
      interval: "day",
    };
    const query = new URLSearchParams({
      account_id: "shop",
      ...seedRange,
      interval: "day",
      group_by: "template",
    });
    query.set("metrics", asked.metrics.join());
    const { text } = await call(app.url, "GET", `/analytics/metrics?${query}`, { key: app.adminKey });
    const rows = await rowsOf({ dataset: "metrics", ...asked, group_by: ["template"] });
    expect(rows).toEqual((JSON.parse(text) as { rows: Row[] }).rows);
    expect(rows.length).toBeGreaterThan(3);
    const whole = await rowsOf({ dataset: "metrics", metrics: asked.metrics, interval: "all" });
    expect(whole).toEqual([Object.fromEntries(asked.metrics.map((name) => [name, expect.any(Number)]))]);
  });

  it.each(["messages", "events", "conversations", "contacts", "metrics"])(
    "%s says the same in every format, and as a stream",
    async (dataset) => {
      const more = dataset === "metrics" ? { group_by: "template" } : {};
      const ask = async (format: string, also: Record<string, string> = {}) => {
        const asked = { account_id: "shop", dataset, format, ...seedRange, ...more, ...also };
        const query = new URLSearchParams(asked);
        const response = await fetch(`${app.url}/analytics/export?${query}`, {
          headers: { authorization: `Bearer ${app.adminKey}` },
        });
        expect(response.status).toBe(200);
        return Buffer.from(await response.arrayBuffer());
      };
      const rows = linesOf((await ask("ndjson")).toString());
      expect(rows.length).toBeGreaterThan(1);
      expect(await rowsOf({ dataset, ...(dataset === "metrics" ? { group_by: ["template"] } : {}) })).toEqual(
        rows,
      );
      expect(JSON.parse((await ask("json")).toString())).toEqual(rows);
      const [head, ...cells] = parseCsv(await ask("csv")) as string[][];
      expect(head).toEqual(Object.keys(rows[0]!));
      // PostgreSQL writes JSON with blanks; the guard is taken from text alone.
      const read = (cell: string, value: unknown) =>
        value !== null && typeof value === "object" ? JSON.parse(cell) : cell.replace(/^'/, "");
      const shown = (value: unknown) =>
        value !== null && typeof value === "object" ? value : value === null ? "" : String(value);
      cells.forEach((row, line) => {
        const values = Object.values(rows[line]!);
        expect(row.map((cell, column) => read(cell, values[column]))).toEqual(values.map(shown));
      });
      expect(cells).toHaveLength(rows.length);
      const records = await readByHyparquet(await ask("parquet", { compression: "gzip" }));
      const values = (value: unknown) =>
        value instanceof Date ? value.toISOString() : typeof value === "bigint" ? Number(value) : value;
      expect(
        records.map((row) =>
          Object.fromEntries(Object.entries(row).map(([name, value]) => [name, values(value)])),
        ),
      ).toEqual(rows);
      const book = xlsx.read(await ask("xlsx"));
      expect(book.SheetNames).toEqual([dataset]);
      const [, ...sheet] = xlsx.utils.sheet_to_json<unknown[]>(book.Sheets[dataset]!, {
        header: 1,
        defval: null,
      });
      expect(sheet).toHaveLength(rows.length);
      sheet.forEach((values, line) => {
        Object.values(rows[line]!).forEach((value, column) => {
          if (typeof value === "number") expect(values[column]).toBeCloseTo(value, 9);
        });
      });
    },
  );

  it.each([
    ["events", "message_events", {}],
    ["conversations", "conversations", {}],
    ["contacts", "contact_presence", {}],
  ])("%s is read by an index, in its order", async (dataset, table) => {
    const asked = exportRequest.parse({ account_id: "shop", dataset, format: "csv", ...seedRange });
    const { rows } = await openRange(app.context.db, asked as RangeRequest);
    const client = await app.context.pool.connect();
    try {
      await client.query("begin");
      // So few rows are sorted sooner; where no index has the order, there is a sort all the same.
      for (const way of ["seqscan", "bitmapscan", "sort", "hashagg"])
        await client.query(`set local enable_${way} = off`);
      const { rows: plan } = await client.query(`explain select * ${rows.from({ ordered: true })}`);
      const text = plan.map((line) => line["QUERY PLAN"]).join("\n");
      expect(text).toContain(table);
      expect(text).not.toMatch(/\bSort\b|HashAggregate/);
    } finally {
      await client.query("rollback");
      client.release();
    }
  });

  it.each([
    [{ dataset: "nothing" }, "dataset", /must be one of messages, events, conversations, contacts, metrics/],
    [{ dataset: "events", columns: ["status"] }, "columns.0", /Invalid option/],
    [{ dataset: "messages", columns: ["status", "status"] }, "columns", /names a column twice/],
    [{ dataset: "events", filters: { error_code: ["1"] } }, "filters", /Unrecognized key/],
    [{ dataset: "contacts", filters: {} }, "", /Unrecognized key/],
    [{ dataset: "messages", metrics: ["messages_sent"] }, "", /Unrecognized key/],
    [{ dataset: "metrics", columns: ["bucket"] }, "", /Unrecognized key/],
    [{ dataset: "metrics", metrics: ["nothing"] }, "metrics.0", /unknown metric/],
  ])("refuses %j by name", (asked, path, message) => {
    const { error } = exportRequest.safeParse({ account_id: "shop", format: "csv", ...seedRange, ...asked });
    expect(error!.issues.map((issue) => issue.path.join("."))).toEqual([path]);
    expect(error!.issues[0]!.message).toMatch(message);
  });

  it("that cannot be asked for so fails once, and says why", async () => {
    const from = "2025-03-01T10:15:00Z";
    const key = await test.insertRun("export", "shop", {
      format: "csv",
      dataset: "contacts",
      ...seedRange,
      from,
    });
    await expect(test.work(buildExport, key)).rejects.toThrow("counted by whole days");
    expect(await test.run(key)).toMatchObject({
      status: "failed",
      error: { code: "invalid_input", message: expect.stringContaining("counted by whole days") },
    });
  });
});
