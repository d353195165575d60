import { createHash } from "node:crypto";
import excel from "exceljs";
import Papa from "papaparse";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { toMetricsQuery } from "../../src/analytics/metrics-query.js";
import { messageColumns } from "../../src/db/datasets/messages.js";
import { type MetricsRow, readMetrics } from "../../src/db/queries/read-metrics.js";
import { buildReport } from "../../src/jobs/build-report.js";
import {
  foldAll,
  newEvent,
  openWork,
  seedMessages,
  seedRange,
  storeEvents,
  type TestWork,
} from "../support/work.js";

const columns =
  "account_id,message_id,channel_id,chat_id,contact_id,direction,content_kind,template,campaign_id,queued_at,sent_at," +
  "delivered_at,read_at,played_at,failed_at,received_at,error_code,error_class,status,updated_at";

let test: TestWork;
let messages: number;
beforeAll(async () => {
  test = await openWork();
  messages = await seedMessages(test, "shop");
});
afterAll(() => test.close());

type Cells = (string | null)[];

/** Builds the report, checks that a second delivery of the job finds nothing to do, and gives the file. */
async function build(params: Record<string, unknown>, now = new Date()): Promise<Buffer> {
  const key = await test.insertRun("report", "shop", { ...seedRange, ...params });
  const { result, enqueued } = await test.work(buildReport, key, { now: () => now });
  const run = await test.run(key);
  expect(run).toMatchObject({ status: "succeeded", attempt: 1, error: null, worker: null });
  const again = await test.work(buildReport, key);
  expect([again.result, again.enqueued, enqueued]).toEqual([{ skipped: "nothing to do" }, [], []]);
  expect(await test.run(key)).toEqual(run);
  const bytes = await test.file(key);
  expect(run.artifact).toMatchObject({
    bytes: bytes.length,
    rows: result.rows,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    file_name: `${params.template}-${String(params.from ?? seedRange.from).slice(0, 10)}-${String(params.to ?? seedRange.to).slice(0, 10)}.${params.format}`,
  });
  expect(run.progress_rows).toBe(result.rows);
  return bytes;
}

const parseCsv = (text: string): string[][] => {
  const { data, errors } = Papa.parse<string[]>(text, { newline: "\r\n", skipEmptyLines: true });
  expect(errors).toEqual([]);
  return data;
};

async function sheetsOf(bytes: Buffer): Promise<excel.Worksheet[]> {
  const workbook = new excel.Workbook();
  await workbook.xlsx.load(bytes as unknown as Parameters<typeof workbook.xlsx.load>[0]);
  return workbook.worksheets;
}

const cellsOf = (sheet: excel.Worksheet, width: number): unknown[][] =>
  Array.from({ length: sheet.rowCount }, (_, row) =>
    Array.from({ length: width }, (_, column) => shown(sheet.getCell(row + 1, column + 1))),
  );

/** Of a text cell, which exceljs shows as rich text. */
const shown = (cell: excel.Cell) => (cell.type === excel.ValueType.RichText ? cell.text : cell.value);

describe("a message log", () => {
  /** The same rows by plain SQL; times as the formats write them. */
  async function expected(where = "true"): Promise<Cells[]> {
    const fields = messageColumns.map(({ sql, type }) =>
      type === "timestamp"
        ? `to_char(${sql} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
        : `(${sql})::text`,
    );
    const { rows } = await test.pool.query<{ cells: Cells }>(
      `select array[${fields.join(", ")}] as cells from messages m
       where account_id = 'shop' and ${where} order by anchor_at, message_id`,
    );
    return rows.map((row) => row.cells);
  }
  const neutral = (value: string | null) =>
    value === null ? "" : /^[=+@\t-]/.test(value) ? `'${value}` : value;
  const log = (format: string, more: object = {}) => build({ template: "message-log", format, ...more });

  it("as CSV: the contract's columns, CRLF, no formula", async () => {
    const text = (await log("csv")).toString("utf8");
    expect(text.slice(0, text.indexOf("\r\n"))).toBe(columns);
    const rows = await expected();
    expect(rows).toHaveLength(messages);
    expect(parseCsv(text).slice(1)).toEqual(rows.map((row) => row.map(neutral)));
    const contacts = parseCsv(text).map((row) => row[4]);
    expect(contacts).toEqual(expect.arrayContaining(["'=1+1", "'+4915550001", "'-2", "'@sum", "'\tcmd"]));
    expect(text.endsWith("\r\n")).toBe(true);
    expect(text.replaceAll("\r\n", "").match(/\n/g)).toHaveLength(2);
  });

  it("as JSON and NDJSON: the texts as they are", async () => {
    const rows = (await expected()).map((row) =>
      Object.fromEntries(row.map((value, index) => [columns.split(",")[index], value])),
    );
    expect(JSON.parse((await log("json")).toString())).toEqual(rows);
    const lines = (await log("ndjson")).toString().split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.map((line) => JSON.parse(line))).toEqual(rows);
  });

  it("as pretty JSON: the same rows in a document, also when there are none", async () => {
    const text = (await log("json", { json: { pretty: true } })).toString();
    const document = JSON.parse(text) as { messages: unknown[] };
    expect(document.messages).toEqual(JSON.parse((await log("json")).toString()));
    expect(document).toMatchObject({ report: "message-log", time_zone: "UTC" });
    const none = { json: { pretty: true }, filters: { channel_id: ["nowhere"] } };
    const empty = (await log("json", none)).toString();
    expect(JSON.parse(empty)).toMatchObject({ messages: [] });
    for (const written of [text, empty])
      expect(written).toBe(`${JSON.stringify(JSON.parse(written), null, 2)}\n`);
  });

  it("as XLSX: text cells and real times", async () => {
    const [sheet] = await sheetsOf(await log("xlsx"));
    const [head, ...rows] = cellsOf(sheet!, messageColumns.length);
    expect(head).toEqual(columns.split(",").map((name) => (name.endsWith("_at") ? `${name} (UTC)` : name)));
    const texts = rows.map((row) =>
      row.map((value) => (value instanceof Date ? value.toISOString() : value)),
    );
    expect(texts).toEqual(await expected());
  });

  it("is a whole file in every format when there are no rows", async () => {
    const none = { filters: { channel_id: ["nowhere"] } };
    expect((await log("csv", none)).toString()).toBe(`${columns}\r\n`);
    expect((await log("ndjson", none)).toString()).toBe("");
    expect(JSON.parse((await log("json", none)).toString())).toEqual([]);
    const [sheet] = await sheetsOf(await log("xlsx", none));
    expect(sheet!.rowCount).toBe(1);
  });

  it("keeps to its filters, the unknown value included", async () => {
    const ids = async (filters: object) =>
      parseCsv((await log("csv", { filters })).toString())
        .slice(1)
        .map((row) => row[1]);
    const idsWhere = async (where: string) => (await expected(where)).map((row) => row[1]);
    expect(await ids({ template: ["offer"] })).toEqual(await idsWhere("template = 'offer'"));
    expect(await ids({ template: [null], channel_id: ["c0"] })).toEqual(
      await idsWhere("template is null and channel_id = 'c0'"),
    );
    expect(await ids({ error_class: ["recipient"] })).toEqual(["f1"]);
    expect(await ids({ channel_id: ["' or true --"] })).toEqual([]);
  });

  it("gives the same bytes for the same run, whenever it is built", async () => {
    for (const format of ["csv", "xlsx"]) {
      const key = await test.insertRun("report", "shop", { ...seedRange, template: "message-log", format });
      await test.work(buildReport, key);
      const first = await test.run(key);
      await test.pool.query("update runs set status = 'queued' where run_id = $1", [key.runId]);
      await test.work(buildReport, key, { now: () => new Date(Date.now() + 600_000) });
      const second = await test.run(key);
      expect(second.fence).toBe(first.fence + 1);
      expect(second.artifact?.sha256).toBe(first.artifact!.sha256);
    }
  });
});

describe("a delivery summary", () => {
  interface Long {
    section: string;
    bucket: string | null;
    dimension: string | null;
    value_of: string | null;
    metric: string;
    value: number | null;
  }
  const summary = (format: string, more: object = {}) =>
    build({ template: "delivery-summary", format, ...more });

  async function metricsOf(
    ids: string[],
    more: object = {},
  ): Promise<{ rows: readonly MetricsRow[]; totals: readonly MetricsRow[] }> {
    const asked = {
      from: new Date(seedRange.from),
      to: new Date(seedRange.to),
      interval: "day" as const,
      basis: "cohort" as const,
      groups: "exclude" as const,
      responders: "human" as const,
      clock: "first" as const,
      hours: "elapsed" as const,
      time_zone: undefined,
      metrics: ids,
      group_by: [],
      filters: {},
      ...more,
    };
    return readMetrics(
      test.db,
      planMetrics(
        toMetricsQuery(asked, {
          accountId: "shop",
          timeZone: "UTC",
          isAlwaysOpen: true,
          kept: { days: undefined, quartersFrom: undefined },
        }),
      ),
    );
  }

  it("has the numbers of the metrics", async () => {
    const rows = JSON.parse((await summary("json")).toString()) as Long[];
    const section = (name: string) => rows.filter((row) => row.section === name);
    const ids = section("totals").map((row) => row.metric);
    const whole = await metricsOf(ids);
    expect(Object.fromEntries(section("totals").map((row) => [row.metric, row.value]))).toEqual(
      whole.totals[0],
    );
    expect(whole.totals[0]).toMatchObject({
      messages_attempted: 11,
      messages_failed: 2,
      messages_received: 1,
    });
    expect(section("by_day").map(({ bucket, metric, value }) => [bucket, metric, value])).toEqual(
      whole.rows.flatMap((row) => ids.map((id) => [row.bucket, id, row[id]])),
    );
    const byTemplate = await metricsOf(ids, { interval: "all", group_by: ["template"] });
    expect(section("by_template").map(({ value_of, metric, value }) => [value_of, metric, value])).toEqual(
      byTemplate.totals.flatMap((row) => ids.map((id) => [row.template, id, row[id]])),
    );
    const failures = section("failures_by_error_class");
    expect(failures.filter((row) => row.metric === "messages_failed")).toEqual([
      expect.objectContaining({ value_of: "pacing", value: 1 }),
      expect.objectContaining({ value_of: "recipient", value: 1 }),
    ]);
    expect(failures.filter((row) => row.metric === "failure_rate").map((row) => row.value)).toEqual([
      1 / 11,
      1 / 11,
    ]);
  });

  it("has failures by class and code that add up to the rate of all, groups left out", async () => {
    const group = { chatId: "team", chatKind: "group" };
    const failure = (errorClass: string, errorCode: string) => ({ errorClass, errorCode });
    const at = "2025-03-01T09:00:00Z";
    await storeEvents(test, [
      newEvent("failing", "g1", "failed", at, { ...group, ...failure("recipient", "131026") }),
      newEvent("failing", "g2", "failed", at, { ...group, ...failure("policy", "131050") }),
      newEvent("failing", "g3", "sent", at, group),
      newEvent("failing", "d1", "failed", at, failure("recipient", "131026")),
      newEvent("failing", "d2", "failed", at, failure("pacing", "131049")),
      ...["d3", "d4", "d5"].map((id) => newEvent("failing", id, "sent", at)),
    ]);
    await foldAll(test, "failing");
    for (const basis of ["cohort", "event"]) {
      const request = { ...seedRange, template: "delivery-summary", format: "json", basis };
      const key = await test.insertRun("report", "failing", request);
      await test.work(buildReport, key);
      const rows = JSON.parse((await test.file(key)).toString()) as Long[];
      const values = (section: string, metric: string) =>
        rows.filter((row) => row.section === section && row.metric === metric).map((row) => row.value);
      expect(values("totals", "failure_rate")).toEqual([2 / 5]);
      // Pacing, policy and recipient; in the order of their codes 131026, 131049 and 131050.
      expect(values("failures_by_error_class", "failure_rate")).toEqual([1 / 5, 0, 1 / 5]);
      expect(values("failures_by_error_code", "failure_rate")).toEqual([1 / 5, 1 / 5, 0]);
      expect(values("failures_by_error_class", "messages_failed")).toEqual([1, 1, 2]);
    }
  });

  it("says the same in every format", async () => {
    const more = { group_by: ["channel_id", "template"], filters: { channel_id: ["c0", "c1"] } };
    const rows = JSON.parse((await summary("json", more)).toString()) as Long[];
    const lines = (await summary("ndjson", more)).toString().trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(rows);
    const [head, ...cells] = parseCsv((await summary("csv", more)).toString());
    expect(head).toEqual(["section", "bucket", "dimension", "value_of", "metric", "value"]);
    expect(cells).toEqual(
      rows.map((row) => Object.values(row).map((value) => (value === null ? "" : String(value)))),
    );
    const [totals, ...sheets] = await sheetsOf(await summary("xlsx", more));
    const section = (name: string) => rows.filter((row) => row.section.replaceAll("_", " ") === name);
    expect(
      cellsOf(totals!, 2)
        .slice(1)
        .map(([metric, value]) => ({ metric, value })),
    ).toEqual(section("totals").map(({ metric, value }) => ({ metric, value })));
    expect(totals!.name).toBe("Summary");
    expect(sheets.pop()!.name).toBe("about");
    expect(sheets.map((sheet) => sheet.name)).toEqual(
      [...new Set(rows.map((row) => row.section.replaceAll("_", " ")))].slice(1),
    );
    for (const sheet of sheets) {
      const [names, ...values] = cellsOf(sheet, sheet.columnCount);
      const expected = section(sheet.name);
      expect(values.flatMap((row) => row.slice(1))).toEqual(expected.map((row) => row.value));
      expect(expected.map((row) => row.metric)).toEqual(values.flatMap(() => names!.slice(1)));
    }
  });

  it("counts the rows that a file has, those of all sections", async () => {
    const rowsOf = async (format: string, more: object = {}) => {
      const key = await test.insertRun("report", "shop", {
        ...seedRange,
        template: "delivery-summary",
        format,
        ...more,
      });
      await test.work(buildReport, key);
      return { rows: (await test.run(key)).artifact!.rows, bytes: await test.file(key) };
    };
    const csv = await rowsOf("csv");
    expect(csv.rows).toBe(parseCsv(csv.bytes.toString()).length - 1);
    const workbook = await rowsOf("xlsx");
    const sheets = (await sheetsOf(workbook.bytes)).filter((sheet) => sheet.name !== "about");
    expect(workbook.rows).toBe(sheets.reduce((sum, sheet) => sum + sheet.rowCount - 1, 0));
    const document = await rowsOf("json", { json: { pretty: true } });
    const { sections } = JSON.parse(document.bytes.toString()) as { sections: { rows: unknown[] }[] };
    expect(document.rows).toBe(sections.flatMap(({ rows }) => rows).length);
  });

  it("shows units in a workbook, and the days of the report's zone", async () => {
    const [totals, byDay] = await sheetsOf(
      await summary("xlsx", {
        time_zone: "Europe/Berlin",
        from: "2025-02-28T23:00:00Z",
        to: "2025-03-03T23:00:00Z",
      }),
    );
    const formats = new Map(
      [2, 9, 13].map((row) => [totals!.getCell(row, 1).text, totals!.getCell(row, 2).numFmt]),
    );
    expect([...formats]).toEqual([
      ["messages_attempted", "#,##0"],
      ["delivery_rate", "0.00%"],
      ["time_to_send_p50", '#,##0.000" s"'],
    ]);
    expect([2, 9, 13].map((row) => totals!.getCell(row, 3).text)).toEqual(["messages", "ratio", "seconds"]);
    expect(byDay!.getCell(1, 1).text).toBe("bucket (Europe/Berlin)");
    expect(byDay!.getCell(2, 1).numFmt).toBe("yyyy-mm-dd");
    expect((byDay!.getCell(2, 1).value as Date).toISOString()).toBe("2025-03-01T00:00:00.000Z");
    expect(byDay!.getCell(2, 9).numFmt).toBe("0.00%");
  });

  it("as pretty JSON: nested, with what it is about", async () => {
    const flat = JSON.parse((await summary("json")).toString()) as Long[];
    const text = (await summary("json", { json: { pretty: true } })).toString();
    const document = JSON.parse(text) as {
      units: Record<string, string>;
      sections: { section: string; rows: Record<string, unknown>[] }[];
    };
    expect(text).toBe(`${JSON.stringify(document, null, 2)}\n`);
    expect(document).toMatchObject({
      report: "delivery-summary",
      account_id: "shop",
      from: "2025-03-01T00:00:00.000Z",
      to: "2025-03-04T00:00:00.000Z",
      time_zone: "UTC",
      units: { messages_sent: "messages", read_rate: "ratio", time_to_read_p50: "seconds" },
    });
    expect(
      document.sections.flatMap(({ section, rows }) =>
        rows.flatMap((row) =>
          Object.keys(row)
            .filter((field) => field in document.units)
            .map((metric) => [section, metric, row[metric]]),
        ),
      ),
    ).toEqual(flat.map(({ section, metric, value }) => [section, metric, value]));
  });

  it("neutralises the value of a dimension and no number", async () => {
    await storeEvents(test, [
      newEvent("odd", "1", "sent", "2025-03-01T09:00:05Z", { template: "=1+1" }),
      newEvent("odd", "1", "delivered", "2025-03-01T09:00:00Z"),
    ]);
    await foldAll(test, "odd");
    const key = await test.insertRun("report", "odd", {
      ...seedRange,
      template: "delivery-summary",
      format: "csv",
    });
    await test.work(buildReport, key);
    const rows = parseCsv((await test.file(key)).toString());
    expect(rows.filter((row) => row[0] === "by_template").map((row) => row[3])).toContain("'=1+1");
    expect(rows.slice(1).every((row) => /^(-?\d+(\.\d+)?(e-?\d+)?)?$/.test(row[5]!))).toBe(true);
  });
});
