import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { builtInTemplates } from "../../src/analytics/report-templates/built-in.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { openWork, seedMessages, seedRange, type TestWork } from "../support/work.js";

let app: TestApp;
let work: TestWork;
let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "templates-test-"));
  app = await startTestApp({ env: { DATA_DIR: dataDir } });
  const { pool, db } = app.context;
  work = await openWork({
    test: { url: app.databaseUrl, pool, db, close: async () => {} },
    artifactRoot: join(dataDir, "artifacts"),
  });
  await seedMessages(app.context, "shop");
  await seedMessages(app.context, "other");
});
afterAll(async () => {
  await app.close();
  await rm(dataDir, { recursive: true, force: true });
});

const path = "/analytics/report-templates";
const send = (
  method: string,
  at: string,
  body?: unknown,
  more: { key?: string; headers?: Record<string, string> } = {},
) => call(app.url, method, at, { key: app.adminKey, body, ...more });
const metrics = ["messages_sent", "delivery_rate"];
const definition = {
  title: "My report",
  sections: [{ kind: "table", id: "by_{dimension}", group_by: "requested", metrics }],
};
const make = (name: string, more: object = {}, headers: Record<string, string> = {}) =>
  send("POST", path, { account_id: "shop", name, ...definition, ...more }, { headers });
const get = (name: string, query = "") => send("GET", `${path}/${name}?account_id=shop${query}`);
const put = (name: string, body: object) => send("PUT", `${path}/${name}`, { account_id: "shop", ...body });

async function refused(body: object): Promise<[path: string, code: string][]> {
  const { status, json } = await send("POST", path, {
    account_id: "shop",
    name: "refused",
    ...definition,
    ...body,
  });
  expect([status, json.code]).toEqual([400, "invalid_input"]);
  return json.errors.map((one: { path: string; code: string }) => [one.path, one.code]);
}

async function keyOf(role: string, accounts: string[]): Promise<string> {
  const reply = await send("POST", "/analytics/keys", { name: role, role, account_ids: accounts });
  return reply.json.key;
}

/** Orders a report, does the work, and gives what was kept and the file. */
async function report(body: object): Promise<{ params: Record<string, unknown>; text: string }> {
  const { status, json, text } = await send("POST", "/analytics/reports", {
    account_id: "shop",
    format: "csv",
    ...seedRange,
    ...body,
  });
  expect([status, text]).toEqual([202, expect.any(String)]);
  const key = { accountId: "shop", runId: json.id as string, generation: 1 };
  await work.work(buildReport, key);
  return { params: json.params, text: (await work.file(key)).toString() };
}

describe("a template of an account", () => {
  it("is made once, found, listed with the built-in ones, and gone when it is archived", async () => {
    const key = { "idempotency-key": "make-weekly" };
    const made = await make("weekly", {}, key);
    expect([made.status, made.headers.get("location")]).toEqual([201, `${path}/weekly`]);
    expect(made.json).toMatchObject({
      name: "weekly",
      version: 1,
      last_version: 1,
      built_in: false,
      title: "My report",
      workbook: "styled",
      locale: "en",
      archived_at: null,
    });
    const again = await make("weekly", {}, key);
    expect([again.status, again.json]).toEqual([201, made.json]);
    expect((await make("weekly")).json.code).toBe("template_exists");
    expect((await get("weekly")).json).toEqual(made.json);
    const all = (await send("GET", `${path}?account_id=shop`)).json;
    expect(all.next_cursor).toBeNull();
    expect(all.data.map(({ name }: { name: string }) => name)).toEqual(
      [...builtInTemplates.map(({ name }) => name), "weekly"].sort(),
    );
    expect((await get("delivery-summary")).json).toMatchObject({
      built_in: true,
      version: null,
      sections: expect.any(Array),
    });
    expect((await send("DELETE", `${path}/weekly?account_id=shop`)).status).toBe(204);
    expect((await send("DELETE", `${path}/weekly?account_id=shop`)).status).toBe(404);
    expect((await get("weekly")).status).toBe(404);
    expect((await get("weekly", "&version=1")).json).toMatchObject({
      version: 1,
      archived_at: expect.any(String),
    });
    expect((await make("weekly")).json).toMatchObject({ version: 2, archived_at: null });
  });

  it("is listed page by page", async () => {
    const names: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const { json } = await send(
        "GET",
        `${path}?account_id=shop&limit=3${cursor ? `&cursor=${cursor}` : ""}`,
      );
      names.push(...json.data.map(({ name }: { name: string }) => name));
      cursor = json.next_cursor;
    }
    expect(names).toEqual([...new Set(names)].sort());
    expect(names.length).toBeGreaterThanOrEqual(builtInTemplates.length);
  });

  it("has versions that stay what they are: a report keeps to the one that it was asked with", async () => {
    await make("kept");
    const first = await report({ template: "kept", group_by: ["channel_id"] });
    expect(first.params).toMatchObject({ template: "kept", template_version: 1, time_zone: "UTC" });
    expect(first.text).toMatch(/^by_channel_id,,channel_id,c0,messages_sent,\d+\r$/m);
    const accepted = await send("POST", "/analytics/reports", {
      account_id: "shop",
      template: "kept",
      format: "csv",
      ...seedRange,
      group_by: ["channel_id"],
    });
    const changed = {
      ...definition,
      sections: [{ kind: "table", id: "totals", metrics: ["messages_read"] }],
    };
    expect((await put("kept", changed)).json).toMatchObject({ version: 2, sections: [{ id: "totals" }] });
    expect((await put("kept", changed)).json.version).toBe(2);
    await send("DELETE", `${path}/kept?account_id=shop`);
    const key = { accountId: "shop", runId: accepted.json.id, generation: 1 };
    await work.work(buildReport, key);
    expect((await work.file(key)).toString()).toBe(first.text);
    await make("kept", changed);
    expect((await report({ template: "kept" })).params.template_version).toBe(3);
    expect((await report({ template: "kept", template_version: 1, group_by: ["channel_id"] })).text).toBe(
      first.text,
    );
  });

  it("may be a list of messages, with columns and filters of its own", async () => {
    const sections = [
      {
        kind: "rows",
        id: "failed",
        dataset: "messages",
        columns: ["message_id", "error_code"],
        filters: { error_class: ["recipient", "pacing"] },
      },
    ];
    await make("failures", { sections });
    expect((await report({ template: "failures" })).text).toBe(
      "message_id,error_code\r\nf1,131026\r\nf2,131049\r\n",
    );
    expect((await report({ template: "failures", filters: { error_class: ["pacing", null] } })).text).toBe(
      "message_id,error_code\r\nf2,131049\r\n",
    );
    expect((await report({ template: "failures", filters: { error_class: [null] } })).text).toBe(
      "message_id,error_code\r\n",
    );
    const html = await send("POST", "/analytics/reports", {
      account_id: "shop",
      template: "failures",
      format: "html",
      ...seedRange,
    });
    expect([html.status, html.json.errors[0].path]).toEqual([400, "format"]);
  });

  it("belongs to its account", async () => {
    await make("mine");
    const viewer = await keyOf("viewer", ["shop"]);
    const analyst = await keyOf("analyst", ["other"]);
    const as = (key: string, method: string, at: string, body?: unknown) => send(method, at, body, { key });
    expect((await as(viewer, "GET", `${path}/mine?account_id=shop`)).status).toBe(200);
    expect((await as(viewer, "POST", path, { account_id: "shop", name: "x", ...definition })).status).toBe(
      403,
    );
    expect((await as(viewer, "DELETE", `${path}/mine?account_id=shop`)).status).toBe(403);
    expect((await as(analyst, "GET", `${path}/mine?account_id=shop`)).status).toBe(404);
    expect((await as(analyst, "GET", `${path}/mine?account_id=other`)).status).toBe(404);
    expect((await as(analyst, "PUT", `${path}/mine`, { account_id: "other", ...definition })).status).toBe(
      404,
    );
    const asked = { account_id: "other", template: "mine", format: "csv", ...seedRange };
    expect((await as(analyst, "POST", "/analytics/reports", asked)).json.errors).toEqual([
      expect.objectContaining({ path: "template", code: "unknown_template" }),
    ]);
  });

  it("is refused by the field that is wrong", async () => {
    const table = { kind: "table", id: "a", metrics };
    const sections = (...list: object[]) => ({ sections: list });
    expect(await refused({ name: "delivery-summary" })).toEqual([["name", "name_reserved"]]);
    expect(await refused({ name: "preview" })).toEqual([["name", "name_reserved"]]);
    expect(await refused({ name: "No" })).toEqual([["name", "invalid_format"]]);
    expect(await refused(sections({ ...table, metrics: ["messages_sent", "message_sent"] }))).toEqual([
      ["sections[0].metrics[1]", "unknown_metric"],
    ]);
    expect(await refused(sections({ ...table, group_by: ["country"] }))).toEqual([
      ["sections[0].group_by", "invalid_union"],
    ]);
    expect(
      await refused(sections(table, { ...table, id: "b", metrics: ["turns"], group_by: ["template"] })),
    ).toEqual([["sections[1].metrics[0]", "dimension_not_available"]]);
    expect(
      await refused(sections({ ...table, metrics: ["active_contacts"], filters: { channel_id: ["c0"] } })),
    ).toEqual([["sections[0].metrics[0]", "dimension_not_available"]]);
    expect(await refused(sections(table, table))).toEqual([["sections[1].id", "duplicate_section"]]);
    expect(await refused(sections({ ...table, group_by: ["template"], limit: 5 }))).toEqual([
      ["sections[0].limit", "needs_order"],
    ]);
    expect(
      await refused(sections({ ...table, group_by: ["template"], order: { by: "messages_read" } })),
    ).toEqual([["sections[0].order.by", "not_in_section"]]);
    expect(await refused(sections({ ...table, titles: { messages_read: "x" } }))).toEqual([
      ["sections[0].titles.messages_read", "not_in_section"],
    ]);
    expect(await refused(sections({ ...table, titles: { nothing: "x" } }))).toEqual([
      ["sections[0].titles.nothing", "unknown_field"],
    ]);
    expect(await refused(sections({ ...table, id: "by_{interval}" }))).toEqual([
      ["sections[0].id", "nothing_requested"],
    ]);
    expect(await refused(sections({ kind: "heatmap", id: "h", metric: "queue_depth" }))).toEqual([
      ["sections[0].metric", "metric_not_available"],
    ]);
    expect(
      await refused(sections({ kind: "rows", id: "r", dataset: "messages", columns: ["text"] })),
    ).toEqual([["sections[0].columns[0]", "invalid_value"]]);
    expect(await refused(sections(table, { kind: "rows", id: "r", dataset: "messages" }))).toEqual([
      ["sections[1].kind", "rows_not_alone"],
    ]);
    expect(await refused({ locale: "xx-nowhere-at-all" })).toEqual([["locale", "custom"]]);
    expect(await refused({ number_formats: { ratio: { decimals: 7 } } })).toEqual([
      ["number_formats.ratio.decimals", "too_big"],
    ]);
    expect(
      await refused({ sections: Array.from({ length: 21 }, (_, n) => ({ ...table, id: `s${n}` })) }),
    ).toEqual([["sections", "too_big"]]);
    expect(await refused({ colour: "red" })).toEqual([["colour", "unknown_field"]]);
    const long = await send("POST", path, {
      account_id: "shop",
      name: "long",
      ...definition,
      description: "x".repeat(70_000),
    });
    expect(long.status).toBe(413);
    expect((await put("delivery-summary", definition)).json.code).toBe("template_built_in");
    expect((await put("nothing", definition)).status).toBe(404);
    expect((await send("GET", `${path}/nothing?account_id=nobody`)).status).toBe(404);
  });

  it("is one of a hundred at most, however many are made at once", async () => {
    await app.context.pool.query(
      `insert into report_templates (account_id, name, version) select 'other', 'n' || n, 1 from generate_series(1, 97) n`,
    );
    const codes = await Promise.all(
      Array.from({ length: 8 }, async (_, n) => {
        const { status, json } = await send("POST", path, {
          account_id: "other",
          name: `last-${n}`,
          ...definition,
        });
        return status === 201 ? 201 : json.code;
      }),
    );
    expect(codes.sort()).toEqual([201, 201, 201, ...Array.from({ length: 5 }, () => "too_many_templates")]);
  });
});

describe("a preview", () => {
  const preview = (body: object) =>
    send("POST", `${path}/preview`, { account_id: "shop", ...seedRange, ...body });

  it("shows the first rows of every section at once, of a template or of one to come", async () => {
    const { status, json } = await preview({ template: "delivery-summary", group_by: ["channel_id"] });
    expect([status, json.left_out, json.time_zone]).toEqual([200, [], "UTC"]);
    expect(json.sections.map(({ section }: { section: string }) => section)).toEqual([
      "totals",
      "by_day",
      "by_channel_id",
      "failures_by_error_class",
      "failures_by_error_code",
    ]);
    expect(json.sections[0]).toMatchObject({ truncated: false, rows: [{ messages_attempted: 11 }] });
    const sections = [
      { kind: "table", id: "quarters", interval: "15m", metrics: ["messages_sent"] },
      { kind: "table", id: "both", interval: "hour", group_by: ["channel_id"], metrics: ["messages_sent"] },
    ];
    const own = (await preview({ definition: { title: "x", sections } })).json;
    expect(
      own.sections.map((one: { rows: unknown[]; truncated: boolean }) => [one.rows.length, one.truncated]),
    ).toEqual([
      [50, true],
      [expect.any(Number), true],
    ]);
    const asked = await send(
      "GET",
      `/analytics/metrics?account_id=shop&metrics=messages_sent&interval=15m&from=${seedRange.from}&to=${seedRange.to}`,
    );
    expect(own.sections[0].rows).toEqual(asked.json.rows.slice(0, 50));
  });

  it("shows messages too, and no more of them than it says", async () => {
    const { json } = await preview({ template: "message-log" });
    expect(json.sections[0].rows).toHaveLength(12);
    expect(json.sections[0].rows[0]).toMatchObject({
      account_id: "shop",
      message_id: "m0",
      sent_at: "2025-03-01T09:00:00.120Z",
    });
    expect(json.sections[0].truncated).toBe(false);
  });

  it("is refused by the field that is wrong", async () => {
    const errors = async (body: object) =>
      (await preview(body)).json.errors.map((one: { path: string }) => one.path);
    expect(await errors({})).toEqual(["definition"]);
    expect(await errors({ template: "nothing" })).toEqual(["template"]);
    expect(
      await errors({
        definition: { ...definition, sections: [{ kind: "table", id: "a", metrics: ["nothing"] }] },
      }),
    ).toEqual(["definition.sections[0].metrics[0]"]);
    expect(await errors({ template: "message-log", filters: { agent_id: ["ann"] } })).toEqual([
      "filters.agent_id",
    ]);
    expect(await errors({ template: "delivery-summary", group_by: ["agent_id"] })).toContain("group_by");
    expect((await preview({ template: "delivery-summary", filters: { agent_id: ["ann"] } })).json.code).toBe(
      "no_section_left",
    );
  });
});

describe("asking for a report", () => {
  it("is refused when its template is not known, or cannot be told so", async () => {
    const errors = async (body: object) => {
      const reply = await send("POST", "/analytics/reports", {
        account_id: "shop",
        format: "csv",
        ...seedRange,
        ...body,
      });
      return [reply.status, reply.json.errors?.map((one: { path: string }) => one.path) ?? reply.json.code];
    };
    expect(await errors({ template: "nothing" })).toEqual([400, ["template"]]);
    expect(await errors({ template: "delivery-summary", template_version: 1 })).toEqual([
      400,
      ["template_version"],
    ]);
    expect(await errors({ template: "message-log", format: "html" })).toEqual([400, ["format"]]);
    expect(
      await errors({ template: "delivery-summary", interval: "15m", from: "2005-01-01T00:00:00Z" }),
    ).toEqual([400, "too_many_buckets"]);
    expect(await errors({ template: "conversation-flow", filters: { template: ["offer"] } })).toEqual([
      400,
      "no_section_left",
    ]);
  });

  it("gives a page as an attachment that runs nothing", async () => {
    const { json } = await send("POST", "/analytics/reports", {
      account_id: "shop",
      template: "executive-overview",
      format: "html",
      ...seedRange,
    });
    await work.work(buildReport, { accountId: "shop", runId: json.id, generation: 1 });
    const reply = await send("GET", `/analytics/reports/${json.id}/download`);
    expect(reply.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(reply.headers.get("content-disposition")).toBe(
      'attachment; filename="executive-overview-2025-03-01-2025-03-04.html"',
    );
    expect(reply.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(reply.headers.get("x-content-type-options")).toBe("nosniff");
    expect(reply.text).toMatch(/^<!doctype html>/);
    const { result } = (await send("GET", `/analytics/reports/${json.id}`)).json;
    expect(result).toMatchObject({
      as_of: expect.stringMatching(/Z$/),
      left_out: [],
      sections: expect.any(Array),
    });
  });
});
