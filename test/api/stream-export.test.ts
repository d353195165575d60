import { once } from "node:events";
import { get as httpGet, type IncomingMessage } from "node:http";
import * as xlsx from "@e965/xlsx";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";

let app: TestApp;
let messages: number;
beforeAll(async () => {
  app = await startTestApp();
  messages = await seedMessages(app.context, "shop");
});
afterAll(() => app.close());

const pathOf = (parameters: Record<string, string>) =>
  `/analytics/export?${new URLSearchParams({ account_id: "shop", dataset: "messages", ...seedRange, ...parameters })}`;
const get = (parameters: Record<string, string>, method = "GET") =>
  call(app.url, method, pathOf(parameters), { key: app.adminKey });

describe("the stream export", () => {
  it("sends CSV unless it is asked for something else", async () => {
    const { status, headers, text } = await get({});
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("text/csv; charset=utf-8");
    expect(headers.get("content-disposition")).toBe(
      'attachment; filename="messages-2025-03-01-2025-03-04.csv"',
    );
    expect(text.slice(0, text.indexOf("\r\n")).split(",")).toHaveLength(20);
    expect(text.split("\r\n")).toHaveLength(messages + 2);
    expect(text).toContain("'=1+1");
  });

  it("sends NDJSON, and the columns and rows that were asked for", async () => {
    const { headers, text } = await get({
      format: "ndjson",
      columns: "status,message_id",
      "filter[template]": "offer",
    });
    expect(headers.get("content-type")).toBe("application/x-ndjson");
    const rows = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, string>);
    const { rows: expected } = await app.context.pool.query(
      "select message_id from messages where template = 'offer' order by anchor_at, message_id",
    );
    expect(rows.map((row) => row.message_id)).toEqual(expected.map((row) => row.message_id));
    expect(Object.keys(rows[0]!)).toEqual(["status", "message_id"]);
    expect((await get({ columns: "status", "filter[channel_id]": "nowhere" })).text).toBe("status\r\n");
  });

  it("sends one array as JSON, and a workbook with a row a message", async () => {
    const json = await get({ format: "json", columns: "message_id" });
    expect(json.headers.get("content-type")).toBe("application/json; charset=utf-8");
    const ids = (JSON.parse(json.text) as { message_id: string }[]).map((row) => row.message_id);
    expect(ids).toHaveLength(messages);
    const response = await fetch(app.url + pathOf({ format: "xlsx", columns: "message_id" }), {
      headers: { authorization: `Bearer ${app.adminKey}` },
    });
    expect(response.headers.get("content-disposition")).toMatch(/\.xlsx"$/);
    const sheet = xlsx.read(Buffer.from(await response.arrayBuffer())).Sheets.messages!;
    expect(xlsx.utils.sheet_to_json(sheet, { header: 1 }).flat()).toEqual(["message_id", ...ids]);
  });

  it("writes CSV as it is asked to", async () => {
    const { text } = await get({
      columns: "contact_id,status",
      "csv[delimiter]": ";",
      "csv[null]": "NULL",
      "csv[header]": "false",
      "csv[formula_guard]": "false",
    });
    const lines = text.split("\r\n");
    expect(lines).toHaveLength(messages + 1);
    expect(lines[0]).toBe("=1+1;read");
    expect(lines).toContain("NULL;sent");
  });

  it("answers HEAD without a body", async () => {
    const { status, headers, text } = await get({}, "HEAD");
    expect([status, text]).toEqual([200, ""]);
    expect(headers.get("content-type")).toBe("text/csv; charset=utf-8");
  });

  it("names what is wrong with a question", async () => {
    const wrong = async (parameters: Record<string, string>) => {
      const { status, json } = await get(parameters);
      return [status, json.errors?.[0]?.path ?? json.code];
    };
    expect(await wrong({ columns: "status,sms" })).toEqual([400, "columns[1]"]);
    expect(await wrong({ format: "pdf" })).toEqual([400, "format"]);
    expect(await wrong({ dataset: "calls" })).toEqual([400, "dataset"]);
    expect(await wrong({ to: seedRange.from })).toEqual([400, "to"]);
    expect(await wrong({ "filter[status]": "x" })).toEqual([400, "filter[status]"]);
    expect(await wrong({ "filter[__proto__]": "x" })).toEqual([400, "filter[__proto__]"]);
    expect(await wrong({ ["__proto__"]: "x" })).toEqual([400, "__proto__"]);
    expect(await wrong({ sort: "x" })).toEqual([400, "sort"]);
    expect(await wrong({ "csv[delimiter]": "x" })).toEqual([400, "csv[delimiter]"]);
    expect(await wrong({ "csv[bom]": "1" })).toEqual([400, "csv[bom]"]);
    expect(await wrong({ "csv[quote]": "x" })).toEqual([400, "csv[quote]"]);
    expect(await wrong({ "csv[header]": "false", format: "ndjson" })).toEqual([400, "csv"]);
    expect(await wrong({ account_id: "nobody" })).toEqual([404, "account_not_found"]);
  });
});

describe("a reader that leaves", () => {
  const copying = async () =>
    (
      await app.context.pool.query<{ pid: number }>(
        `select pid from pg_stat_activity
         where datname = current_database() and application_name = 'api export' and state = 'active'`,
      )
    ).rows.length;

  /** The start of an answer, of which no more is read. */
  async function open(parameters: Record<string, string>): Promise<IncomingMessage> {
    const request = httpGet(app.url + pathOf(parameters), {
      headers: { authorization: `Bearer ${app.adminKey}` },
    });
    request.on("error", () => {});
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.on("error", () => {});
    return response;
  }

  it.each(["csv", "ndjson"])("F20: stops the database within a second (%s)", async (format) => {
    await app.context.pool.query(`insert into accounts (account_id) values ('big') on conflict do nothing`);
    await app.context.pool.query(
      `insert into messages (account_id, message_id, anchor_at, contact_id, updated_at)
       select 'big', 'message-' || i, '2025-03-01'::timestamptz + i * interval '1 second', repeat('x', 400), now()
       from generate_series(1, 60000) i on conflict do nothing`,
    );
    const response = await open({ account_id: "big", format });
    expect(response.statusCode).toBe(200);
    await once(response, "readable");
    // The header line comes before the database has begun.
    await expect.poll(copying, { interval: 5 }).toBe(1);
    const leftAt = performance.now();
    response.destroy();
    await expect.poll(copying, { interval: 20, timeout: 10_000 }).toBe(0);
    expect(performance.now() - leftAt).toBeLessThan(1_000);
    expect((await get({ columns: "status", "filter[channel_id]": "nowhere" })).text).toBe("status\r\n");
  });
});
