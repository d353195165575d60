import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fireDue } from "../../src/jobs/fire-schedules.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { silentLog } from "../support/postgres.js";
import { endRuns } from "../support/schedules.js";

let app: TestApp;
let now = new Date("2026-03-27T12:00:00Z");
const keys: Record<string, string> = {};
beforeAll(async () => {
  app = await startTestApp({ now: () => now });
  for (const account_id of ["shop", "other"])
    await send("POST", "/analytics/accounts", { account_id, time_zone: "Europe/Berlin" });
  for (const [name, role, account] of [
    ["viewer", "viewer", "shop"],
    ["analyst", "analyst", "shop"],
    ["foreign", "analyst", "other"],
  ] as const)
    keys[name] = (await send("POST", "/analytics/keys", { name, role, account_ids: [account] })).json.key;
});
afterAll(() => app.close());
beforeEach(() => {
  now = new Date("2026-03-27T12:00:00Z");
  return app.context.pool.query("truncate schedules, schedule_slots, runs");
});

type Body = Record<string, unknown>;
const path = "/analytics/schedules";
const send = (
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  key = app.adminKey,
) => call(app.url, method, path, { key, body, headers });

const daily: Body = {
  account_id: "shop",
  name: "every night",
  cron: "30 2 * * *",
  report: { template: "delivery-summary", format: "csv" },
  range: "yesterday",
};
const make = async (more: Body = {}) => {
  const reply = await send("POST", path, { ...daily, ...more });
  expect([reply.status, reply.json.errors]).toEqual([201, undefined]);
  return reply.json;
};
const fire = async (at: string) => {
  now = new Date(at);
  return (await fireDue(app.context.db, now, silentLog)).runs;
};

describe("a schedule", () => {
  it("is made with an account's zone, found, listed, and gone when it is deleted", async () => {
    const made = await send("POST", path, daily);
    const { id } = made.json;
    expect(made.status).toBe(201);
    expect(made.headers.get("location")).toBe(`${path}/${id}`);
    expect(made.json).toEqual({
      id,
      ...daily,
      time_zone: "Europe/Berlin",
      catch_up: "last",
      overlap: "skip",
      status: "active",
      disabled: null,
      next_fire_at: "2026-03-28T01:30:00.000Z",
      version: 1,
      created_at: now.toISOString(),
      updated_at: now.toISOString(),
      links: { self: `${path}/${id}`, fires: `${path}/${id}/fires`, history: `${path}/${id}/history` },
    });
    const found = await send("GET", `${path}/${id}`);
    expect([found.json, found.headers.get("etag")]).toEqual([made.json, '"1"']);
    const second = await make({ name: "second", paused: true });
    expect(second).toMatchObject({ status: "paused", next_fire_at: null });
    const listed = await send("GET", `${path}?account_id=shop&limit=1`);
    const rest = await send("GET", `${path}?account_id=shop&limit=1&cursor=${listed.json.next_cursor}`);
    expect([...listed.json.data, ...rest.json.data].map((row: Body) => row.id).sort()).toEqual(
      [id, second.id].sort(),
    );
    expect(rest.json.next_cursor).toBeNull();
    const paused = await send("GET", `${path}?account_id=shop&status=paused`);
    expect(paused.json.data).toEqual([second]);
    expect((await send("DELETE", `${path}/${id}`)).status).toBe(204);
    expect((await send("GET", `${path}/${id}`)).status).toBe(404);
    expect((await send("DELETE", `${path}/${id}`)).status).toBe(404);
  });

  it("is made once under one idempotency key", async () => {
    const headers = { "idempotency-key": "schedule-1" };
    const first = await send("POST", path, daily, headers);
    const again = await send("POST", path, daily, headers);
    expect(again.json).toEqual(first.json);
    expect((await send("GET", `${path}?account_id=shop`)).json.data).toHaveLength(1);
  });

  it.each<[Body, string[]]>([
    [{ cron: "@daily" }, ["cron invalid_cron"]],
    [{ cron: "*/5 * * * *" }, ["cron too_frequent"]],
    [{ cron: "0 0 31 4 *" }, ["cron invalid_cron"]],
    [{ time_zone: "Mars/Olympus" }, ["time_zone unknown_time_zone"]],
    [{ range: "last_year", overlap: "wait" }, ["range invalid_value", "overlap invalid_value"]],
    [{ notifi: 1 }, ["notifi unknown_field"]],
    [{ export: { dataset: "messages", format: "csv" } }, ["export one_request"]],
    [{ report: undefined }, ["report required"]],
    [{ report: { template: "none", format: "csv" } }, ["report.template unknown_template"]],
    [{ report: { template: "none\0", format: "csv" } }, ["report.template invalid_format"]],
    [
      { report: { template: "none", template_version: 3, format: "csv" } },
      ["report.template_version unknown_version"],
    ],
    [
      { report: { template: "none", template_version: 1e10, format: "csv" } },
      ["report.template_version too_big"],
    ],
    [{ report: [] }, ["report invalid_type"]],
    [
      { report: { template: "delivery-summary", format: "pdf", colour: 1 } },
      ["report.format invalid_value", "report.colour unknown_field"],
    ],
    [
      {
        report: {
          template: "delivery-summary",
          format: "csv",
          from: "2026-01-01T00:00:00Z",
          account_id: "other",
        },
      },
      ["report.account_id set_by_schedule", "report.from set_by_schedule"],
    ],
    [
      {
        cron: "0 8 1 1 *",
        range: "since_previous_fire",
        report: { template: "delivery-summary", format: "csv", interval: "15m" },
      },
      ["report.interval too_many_buckets"],
    ],
  ])("with %j is refused by name", async (more, issues) => {
    const reply = await send("POST", path, { ...daily, ...more });
    expect(reply.status).toBe(400);
    expect(reply.json.errors.map((issue: Body) => `${issue.path} ${issue.code}`)).toEqual(issues);
  });

  it("is one of 200 of an account", async () => {
    await make();
    await app.context.pool.query(`
      insert into schedules (account_id, name, cron, time_zone, kind, request, range, catch_up, overlap, status,
        enabled_at, requested_by, created_at, updated_at)
      select account_id, name, cron, time_zone, kind, request, range, catch_up, overlap, 'paused',
        now(), requested_by, now(), now() from schedules, generate_series(1, 198)`);
    const both = await Promise.all([send("POST", path, daily), send("POST", path, daily)]);
    expect(both.map((reply) => reply.status).sort()).toEqual([201, 409]);
    expect(both.find((reply) => reply.status === 409)!.json.code).toBe("too_many_schedules");
    expect((await send("POST", path, { ...daily, account_id: "other" })).status).toBe(201);
  });

  it("is for the keys of its account: viewers read, analysts write, to others it is not there", async () => {
    const { id } = await make();
    const as = async (name: string, method: string, at: string, body?: Body) =>
      (await send(method, at, body, {}, keys[name])).status;
    for (const at of ["", "/fires", "/history"])
      expect(await as("viewer", "GET", `${path}/${id}${at}`)).toBe(200);
    expect(await as("viewer", "GET", `${path}?account_id=shop`)).toBe(200);
    expect(await as("viewer", "POST", path, daily)).toBe(403);
    expect(await as("viewer", "POST", `${path}/${id}/run`)).toBe(403);
    expect(await as("foreign", "POST", path, daily)).toBe(404);
    expect(await as("foreign", "GET", `${path}?account_id=shop`)).toBe(404);
    for (const [method, at] of [
      ["GET", ""],
      ["DELETE", ""],
      ["GET", "/fires"],
      ["GET", "/history"],
      ["POST", "/run"],
      ["POST", "/pause"],
      ["POST", "/resume"],
    ] as const)
      expect(await as("foreign", method, `${path}/${id}${at}`)).toBe(404);
    expect(await as("foreign", "PATCH", `${path}/${id}`, { name: "x" })).toBe(404);
    expect(await as("analyst", "PATCH", `${path}/${id}`, { name: "x" })).toBe(200);
  });
});

describe("the preview", () => {
  it("shows the next fires with their local time, range and what the clock's change does", async () => {
    const { id } = await make();
    const { json } = await send("GET", `${path}/${id}/fires?n=3`);
    expect(json.data).toEqual([
      {
        fire_at: "2026-03-28T01:30:00.000Z",
        local: "2026-03-28T02:30:00+01:00",
        dst: null,
        from: "2026-03-26T23:00:00.000Z",
        to: "2026-03-27T23:00:00.000Z",
      },
      {
        fire_at: "2026-03-29T01:00:00.000Z",
        local: "2026-03-29T03:00:00+02:00",
        dst: "shifted",
        from: "2026-03-27T23:00:00.000Z",
        to: "2026-03-28T23:00:00.000Z",
      },
      {
        fire_at: "2026-03-30T00:30:00.000Z",
        local: "2026-03-30T02:30:00+02:00",
        dst: null,
        from: "2026-03-28T23:00:00.000Z",
        to: "2026-03-29T22:00:00.000Z",
      },
    ]);
    expect((await send("GET", `${path}/${id}/fires`)).json.data).toHaveLength(20);
    expect((await send("GET", `${path}/${id}/fires?n=101`)).json.errors[0].path).toBe("n");
  });

  it("is what fires, and the history says so", async () => {
    const { id } = await make();
    const { data } = (await send("GET", `${path}/${id}/fires?n=4`)).json;
    for (const { fire_at } of data.slice(0, 3)) {
      expect(await fire(fire_at)).toHaveLength(1);
      await endRuns(app.context);
    }
    await fire(data[3].fire_at);
    const { json } = await send("GET", `${path}/${id}/history?limit=3`);
    const { json: rest } = await send("GET", `${path}/${id}/history?limit=3&cursor=${json.next_cursor}`);
    const history = [...json.data, ...rest.data].reverse();
    expect(history.map(({ fire_at, from, to }: Body) => ({ fire_at, from, to }))).toEqual(
      data.map(({ fire_at, from, to }: Body) => ({ fire_at, from, to })),
    );
    const [last] = json.data;
    expect(last).toMatchObject({
      trigger: "schedule",
      outcome: "queued",
      reason: null,
      recorded_at: now.toISOString(),
      run: { kind: "report", status: "queued", error: null },
    });
    const run = await send("GET", last.run.links.self);
    expect(run.json).toMatchObject({
      id: last.run.id,
      schedule_id: id,
      params: {
        ...(daily.report as Body),
        account_id: "shop",
        time_zone: "Europe/Berlin",
        from: last.from,
        to: last.to,
      },
    });
    expect((await send("GET", "/analytics/reports?account_id=shop&limit=1")).json.data[0].schedule_id).toBe(
      id,
    );
  });
});

describe("a change", () => {
  it("of the pattern moves the next fire, after what is due by the old one has fired", async () => {
    const { id } = await make();
    now = new Date("2026-03-28T01:30:02Z");
    const changed = await send("PATCH", `${path}/${id}`, { cron: "0 8 * * 1", name: "Mondays" });
    expect(changed.json).toMatchObject({
      cron: "0 8 * * 1",
      name: "Mondays",
      version: 2,
      next_fire_at: "2026-03-30T06:00:00.000Z",
    });
    const { data } = (await send("GET", `${path}/${id}/history`)).json;
    expect(data.map((slot: Body) => `${slot.fire_at} ${slot.outcome}`)).toEqual([
      "2026-03-28T01:30:00.000Z queued",
    ]);
  });

  it("is checked as a whole, and may make another kind of request", async () => {
    const { id } = await make();
    const refused = await send("PATCH", `${path}/${id}`, { report: { template: "delivery-summary" } });
    expect(refused.json.errors.map((issue: Body) => issue.path)).toEqual(["report.format"]);
    const changed = await send("PATCH", `${path}/${id}`, {
      export: { dataset: "messages", format: "ndjson" },
    });
    expect(changed.json).toMatchObject({
      export: { dataset: "messages", format: "ndjson" },
      range: "yesterday",
    });
    expect(changed.json).not.toHaveProperty("report");
    expect((await fire("2026-03-28T01:30:00Z"))[0]).toMatchObject({ kind: "export" });
  });

  it("to an export of metrics counts by the schedule's days", async () => {
    const { id } = await make({
      report: undefined,
      export: { dataset: "metrics", format: "csv", metrics: ["messages_sent"] },
      time_zone: "Asia/Kolkata",
    });
    const { json } = await send("POST", `${path}/${id}/run`);
    expect(json).toMatchObject({
      kind: "export",
      params: { time_zone: "Asia/Kolkata", from: "2026-03-25T18:30:00.000Z", to: "2026-03-26T18:30:00.000Z" },
    });
  });

  it("that was meant for another version is refused", async () => {
    const { id } = await make();
    const change = (name: string, tag: string) =>
      send("PATCH", `${path}/${id}`, { name }, { "if-match": tag });
    const first = await change("first", '"1"');
    expect([first.status, first.headers.get("etag")]).toEqual([200, '"2"']);
    const late = await change("late", '"1"');
    expect([late.status, late.json.code]).toEqual([412, "version_changed"]);
    expect((await send("DELETE", `${path}/${id}`, undefined, { "if-match": '"1"' })).status).toBe(412);
    expect((await send("GET", `${path}/${id}`)).json.name).toBe("first");
  });

  it("pauses and resumes: nothing fires meanwhile, and nothing is made up for", async () => {
    const { id } = await make({ catch_up: "all" });
    const paused = await send("POST", `${path}/${id}/pause`);
    expect(paused.json).toMatchObject({ status: "paused", next_fire_at: null, version: 2 });
    expect((await send("POST", `${path}/${id}/pause`)).json.version).toBe(2);
    expect(await fire("2026-03-31T12:00:00Z")).toEqual([]);
    const resumed = await send("POST", `${path}/${id}/resume`);
    expect(resumed.json).toMatchObject({ status: "active", next_fire_at: "2026-04-01T00:30:00.000Z" });
    expect(await fire("2026-03-31T12:00:10Z")).toEqual([]);
    expect((await send("GET", `${path}/${id}/history`)).json.data).toEqual([]);
  });

  it.each([
    ["resume", "POST", "/resume", undefined],
    ["a change", "PATCH", "", { report: { template: "message-log", format: "csv" } }],
  ] as const)("enables a disabled schedule again: %s", async (_name, method, at, body) => {
    const { id } = await make();
    const disabled = { at: now.toISOString(), code: "invalid_request", message: "no" };
    await app.context.pool.query(
      "update schedules set status = 'disabled', look_at = null, next_fire_at = null, disabled = $1",
      [disabled],
    );
    expect((await send("GET", `${path}/${id}`)).json).toMatchObject({ status: "disabled", disabled });
    const { json } = await send(method, `${path}/${id}${at}`, body);
    expect(json).toMatchObject({
      status: "active",
      disabled: null,
      next_fire_at: "2026-03-28T01:30:00.000Z",
    });
  });
});

describe("run now", () => {
  it("asks for a run as if it fired now, beside its slots, also of a paused schedule", async () => {
    const { id } = await make({ range: "today_so_far", paused: true });
    now = new Date("2026-03-27T12:00:00Z");
    const runs = [await send("POST", `${path}/${id}/run`), await send("POST", `${path}/${id}/run`)];
    for (const run of runs) {
      expect(run.status).toBe(202);
      expect(run.headers.get("location")).toBe(`/analytics/reports/${run.json.id}`);
      expect(run.json).toMatchObject({
        schedule_id: id,
        status: "queued",
        params: { from: "2026-03-26T23:00:00.000Z", to: "2026-03-27T12:00:00.000Z" },
      });
    }
    const { data } = (await send("GET", `${path}/${id}/history`)).json;
    expect(
      data.map((slot: Body & { run: Body }) => [slot.fire_at, slot.trigger, slot.outcome, slot.run.id]),
    ).toEqual([
      ["2026-03-27T12:00:00.002Z", "manual", "queued", runs[1]!.json.id],
      ["2026-03-27T12:00:00.001Z", "manual", "queued", runs[0]!.json.id],
    ]);
  });

  it("takes the version that a template of the account has now", async () => {
    const template = { account_id: "shop", title: "Sent" };
    const sections = [{ kind: "table", id: "totals", metrics: ["messages_sent"] }];
    await send("POST", "/analytics/report-templates", { ...template, name: "totals", sections });
    const { id } = await make({ report: { template: "totals", format: "csv" } });
    await send("PUT", "/analytics/report-templates/totals", { ...template, title: "Again", sections });
    const { json } = await send("POST", `${path}/${id}/run`);
    expect(json.params).toMatchObject({ template: "totals", template_version: 2 });
    expect((await send("GET", `${path}/${id}`)).json.report).toEqual({ template: "totals", format: "csv" });
  });

  it("has one effect under one idempotency key", async () => {
    const { id } = await make();
    const headers = { "idempotency-key": "run-1" };
    const first = await send("POST", `${path}/${id}/run`, undefined, headers);
    const again = await send("POST", `${path}/${id}/run`, undefined, headers);
    expect(again.json.id).toBe(first.json.id);
    expect((await send("GET", `${path}/${id}/history`)).json.data).toHaveLength(1);
  });
});
