import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { storeEvents } from "../support/stored-events.js";

let app: TestApp;
/** A Wednesday. */
const NOW = new Date("2025-04-16T10:00:00Z");

const wrote = (id: string, contact: string, time: string): EventJson => ({
  account_id: "shop",
  type: "message.received",
  message_id: id,
  contact_id: contact,
  occurred_at: time,
});

beforeAll(async () => {
  app = await startTestApp({ now: () => NOW });
  for (const body of [{ account_id: "shop", time_zone: "Europe/Berlin" }, { account_id: "other" }])
    await admin("POST", "/analytics/accounts", body);
  await storeEvents(app.context.db, "shop", [
    wrote("1", "ann", "2025-03-30T21:59:00Z"),
    wrote("2", "bo", "2025-03-30T22:00:00Z"),
    wrote("3", "bo", "2025-03-31T22:00:00Z"),
    wrote("4", "ann", "2025-04-08T10:00:00Z"),
    wrote("5", "cy", "2025-04-08T10:00:00Z"),
    wrote("6", "cy", "2025-04-15T10:00:00Z"),
  ]);
  await foldBatch(app.context.db, "shop", { limit: 100 });
});
afterAll(() => app.close());

const admin = (method: string, path: string, body?: unknown) =>
  call(app.url, method, path, { key: app.adminKey, body });
const get = (path: string, parameters: Record<string, string>, key = app.adminKey) =>
  call(app.url, "GET", `/analytics/${path}?${new URLSearchParams(parameters)}`, { key });

const weeks = { account_id: "shop", from: "2025-03-23T23:00:00Z", to: "2025-04-20T22:00:00Z" };

async function refusal(path: string, parameters: Record<string, string>) {
  const reply = await get(path, parameters);
  expect(reply.status).toBe(400);
  expect(reply.headers.get("content-type")).toMatch("application/problem+json");
  return reply.json.errors[0];
}

describe("GET /analytics/metrics with contacts", () => {
  const metrics = "active_contacts,new_contacts,returning_contacts,messages_received";
  const ask = (more: Record<string, string> = {}) =>
    get("metrics", { ...weeks, metrics, interval: "week", ...more });
  const row = (active: number, fresh: number, received: number) => ({
    active_contacts: active,
    new_contacts: fresh,
    returning_contacts: active - fresh,
    messages_received: received,
  });

  it("counts different contacts beside messages", async () => {
    const { status, json } = await ask();
    expect(status).toBe(200);
    expect(json.rows).toEqual([
      { bucket: "2025-03-23T23:00:00.000Z", ...row(1, 1, 1) },
      { bucket: "2025-03-30T22:00:00.000Z", ...row(1, 1, 2) },
      { bucket: "2025-04-06T22:00:00.000Z", ...row(2, 1, 2) },
      { bucket: "2025-04-13T22:00:00.000Z", ...row(1, 0, 1) },
    ]);
    expect(json.totals).toEqual([row(3, 3, 6)]);
    expect((await ask({ basis: "event", interval: "all" })).json.totals).toEqual([row(3, 3, 6)]);
  });

  it("counts a total over the range: who wrote before it is not new", async () => {
    const { json } = await ask({ from: "2025-03-31T22:00:00Z", interval: "day" });
    expect(json.totals).toEqual([row(3, 1, 4)]);
    expect(json.rows[0]).toEqual({ bucket: "2025-03-31T22:00:00.000Z", ...row(1, 0, 1) });
    expect(json.rows).toHaveLength(20);
    const empty = await ask({
      account_id: "other",
      from: "2025-03-03T00:00:00Z",
      to: "2025-03-10T00:00:00Z",
    });
    expect(empty.json.totals).toEqual([row(0, 0, 0)]);
  });

  it("refuses what contacts are not kept by", async () => {
    const wrong = (more: Record<string, string>) =>
      refusal("metrics", { ...weeks, metrics, interval: "week", ...more });
    expect(await wrong({ interval: "hour" })).toMatchObject({
      path: "interval",
      code: "interval_not_available",
    });
    expect(await wrong({ time_zone: "UTC" })).toMatchObject({
      path: "time_zone",
      code: "interval_not_available",
    });
    expect(await wrong({ from: "2025-03-24T23:00:00Z" })).toMatchObject({
      path: "from",
      code: "not_on_period",
    });
    for (const more of [{ group_by: "channel_id" }, { "filter[channel_id]": "c1" }])
      expect(await wrong(more as Record<string, string>)).toMatchObject({ code: "dimension_not_available" });
  });

  it("asks to wait while the zone is being built", async () => {
    await app.context.db
      .updateTable("accounts")
      .set({ zone_id: null })
      .where("account_id", "=", "other")
      .execute();
    for (const path of ["metrics", "retention"]) {
      const parameters = {
        ...weeks,
        account_id: "other",
        from: "2025-03-24T00:00:00Z",
        to: "2025-03-31T00:00:00Z",
      };
      const reply = await get(
        path,
        path === "metrics" ? { ...parameters, metrics, interval: "week" } : parameters,
      );
      expect([reply.status, reply.json.code]).toEqual([503, "contacts_not_built"]);
      expect(reply.headers.get("retry-after")).toBe("60");
    }
    await app.context.db
      .updateTable("accounts")
      .set({ zone_id: 1 })
      .where("account_id", "=", "other")
      .execute();
  });
});

describe("GET /analytics/retention", () => {
  it("shows who came back, and null for what has not begun", async () => {
    const { status, json } = await get("retention", { ...weeks, periods: "3" });
    expect(status).toBe(200);
    expect(json).toEqual({
      account_id: "shop",
      period: "week",
      time_zone: "Europe/Berlin",
      as_of: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      cohorts: [
        { starts: "2025-03-23T23:00:00.000Z", contacts: 1, active: [1, 0, 1, 0], share: [1, 0, 1, 0] },
        { starts: "2025-03-30T22:00:00.000Z", contacts: 1, active: [1, 0, 0, null], share: [1, 0, 0, null] },
        {
          starts: "2025-04-06T22:00:00.000Z",
          contacts: 1,
          active: [1, 1, null, null],
          share: [1, 1, null, null],
        },
        {
          starts: "2025-04-13T22:00:00.000Z",
          contacts: 0,
          active: [0, null, null, null],
          share: [null, null, null, null],
        },
      ],
    });
    const months = await get("retention", { ...weeks, from: "2025-02-28T23:00:00Z", period: "month" });
    expect(months.json.cohorts.map((one: { active: unknown[] }) => one.active.slice(0, 3))).toEqual([
      [2, 2, null],
      [1, null, null],
    ]);
    expect(months.json.cohorts[0].active).toHaveLength(13);
  });

  it("names what is wrong", async () => {
    const wrong = (more: Record<string, string>) => refusal("retention", { ...weeks, ...more });
    expect(await wrong({ period: "year" })).toMatchObject({
      path: "period",
      message: expect.stringMatching("day, week, month"),
    });
    for (const periods of ["0", "61", "x", "1.5", "-1"])
      expect(await wrong({ periods })).toMatchObject({
        path: "periods",
        message: expect.stringContaining("60"),
      });
    expect(await wrong({ to: weeks.from })).toMatchObject({ path: "to", code: "empty_range" });
    expect(await wrong({ from: "2025-03-24T00:01:00Z" })).toMatchObject({ code: "not_on_15_minutes" });
    expect(await wrong({ time_zone: "UTC" })).toMatchObject({ code: "unknown_parameter" });
    expect(await wrong({ period: "day", from: "2020-01-01T00:00:00Z" })).toMatchObject({
      path: "to",
      code: "too_many_cohorts",
    });
  });

  it("shows accounts within the scope only, to those who may read metrics", async () => {
    const keyOf = async (role: string) =>
      (await admin("POST", "/analytics/keys", { name: role, role, account_ids: ["other"] })).json.key;
    const viewer = await keyOf("viewer");
    expect((await get("retention", { ...weeks, account_id: "other" }, viewer)).status).toBe(200);
    const foreign = await get("retention", weeks, viewer);
    const missing = await get("retention", { ...weeks, account_id: "nobody" });
    for (const reply of [foreign, missing])
      expect([reply.status, reply.json.code]).toEqual([404, "account_not_found"]);
    expect((await get("retention", { ...weeks, account_id: "other" }, await keyOf("ingest"))).status).toBe(
      403,
    );
  });
});
