import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { storeEvents } from "../support/stored-events.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  const body = { account_id: "shop", time_zone: "Europe/Berlin" };
  await call(app.url, "POST", "/analytics/accounts", { key: app.adminKey, body });
  const event = (type: EventJson["type"], id: string, time: string, template: string): EventJson => ({
    account_id: "shop",
    type,
    message_id: id,
    occurred_at: time,
    template: { name: template },
  });
  await storeEvents(app.context.db, "shop", [
    // Sunday, 02:30 on a clock that shows it twice that night.
    event("message.sent", "1", "2026-10-25T00:30:00Z", "a"),
    event("message.sent", "2", "2026-10-25T01:30:00Z", "b"),
    event("message.delivered", "2", "2026-10-25T01:30:10Z", "b"),
    event("message.sent", "3", "2026-10-26T08:00:00Z", "a"),
  ]);
  await foldBatch(app.context.db, "shop", { limit: 100 });
});
afterAll(() => app.close());

const range = { from: "2026-10-19T00:00:00+02:00", to: "2026-11-02T00:00:00+01:00" };
const get = (parameters: Record<string, string>, key = app.adminKey) =>
  call(app.url, "GET", `/analytics/heatmap?${new URLSearchParams({ account_id: "shop", ...parameters })}`, {
    key,
  });
const ask = (parameters: Record<string, string>) => get({ ...range, ...parameters });

interface Cell {
  weekday: number;
  hour: number;
  hours: number;
  value: number | null;
}

describe("GET /analytics/heatmap", () => {
  it("has a cell for each hour of the week, those of the account's zone", async () => {
    const { status, json } = await ask({ metric: "messages_sent" });
    expect(status).toBe(200);
    expect({ ...json, cells: null }).toEqual({
      account_id: "shop",
      metric: "messages_sent",
      unit: "messages",
      from: "2026-10-18T22:00:00.000Z",
      to: "2026-11-01T23:00:00.000Z",
      time_zone: "Europe/Berlin",
      basis: "cohort",
      groups: "exclude",
      responders: "human",
      clock: "first",
      hours: "elapsed",
      as_of: expect.stringMatching(/Z$/),
      coverage: { provider_time: 1, receipts: expect.closeTo(1 / 3) },
      notes: [],
      cells: null,
      totals: { value: 3 },
    });
    const cells: Cell[] = json.cells;
    expect(cells.map(({ weekday, hour }) => weekday * 24 + hour)).toEqual(
      Array.from({ length: 168 }, (_, index) => index + 24),
    );
    const full = cells.filter((cell) => cell.value !== 0 || cell.hours !== 2);
    expect(full).toEqual([
      { weekday: 1, hour: 9, hours: 2, value: 1 },
      { weekday: 7, hour: 2, hours: 3, value: 2 },
    ]);
  });

  it("has null where a rate or a time has nothing to measure", async () => {
    for (const [metric, value] of [
      ["delivery_rate", 0.5],
      ["time_to_deliver_p95", expect.closeTo(10, 0)],
    ] as const) {
      const { json } = await ask({ metric });
      const known = (json.cells as Cell[]).filter((cell) => cell.value !== null);
      expect(known[known.length - 1]).toEqual({ weekday: 7, hour: 2, hours: 3, value });
      expect(known.length).toBeLessThan(3);
    }
  });

  it("says what it was asked, how far it can be trusted and why it is empty, as metrics do", async () => {
    const choices = {
      groups: "include",
      responders: "any",
      clock: "last",
      hours: "business",
      basis: "event",
    };
    for (const metric of ["reply_time_p50", "queue_throughput", "delivery_rate"]) {
      const { json } = await ask({ metric, ...choices });
      const query = new URLSearchParams({ account_id: "shop", metrics: metric, ...range, ...choices });
      const path = `/analytics/metrics?${query}&interval=all`;
      const same = (await call(app.url, "GET", path, { key: app.adminKey })).json;
      // Without a calendar.
      expect(json).toMatchObject({ ...choices, hours: "elapsed" });
      for (const name of ["basis", "groups", "responders", "clock", "hours", "coverage", "notes"])
        expect([name, json[name]]).toEqual([name, same[name]]);
      expect(json.notes).toHaveLength(metric === "queue_throughput" ? 1 : 0);
      expect(json.totals.value).toEqual(same.totals[0][metric]);
    }
  });

  it("filters, and takes any zone", async () => {
    const { json } = await ask({
      metric: "messages_sent",
      time_zone: "Asia/Kolkata",
      "filter[template]": "a",
      basis: "event",
    });
    expect(json).toMatchObject({ time_zone: "Asia/Kolkata", basis: "event", totals: { value: 2 } });
    expect((json.cells as Cell[]).filter((cell) => cell.value !== 0)).toMatchObject([
      { weekday: 1, hour: 13 },
      { weekday: 7, hour: 6 },
    ]);
  });

  it("refuses what it does not understand", async () => {
    const refused: [Record<string, string>, path: string, code: string][] = [
      [{}, "metric", "required"],
      [{ metric: "messages_sent,messages_read" }, "metric", "unknown_metric"],
      [{ metric: "messages_sent", interval: "day" }, "interval", "unknown_parameter"],
      [{ metric: "messages_sent", group_by: "template" }, "group_by", "unknown_parameter"],
      [{ metric: "messages_sent", time_zone: "Mars" }, "time_zone", "unknown_time_zone"],
      [{ metric: "messages_sent", to: range.from }, "to", "empty_range"],
      [{ metric: "messages_sent", from: "2025-09-01T00:00:00Z" }, "to", "range_too_long"],
      [{ metric: "messages_sent", from: "2026-10-19T00:01:00Z" }, "from", "not_on_15_minutes"],
    ];
    for (const [parameters, path, code] of refused) {
      const { status, json } = await ask(parameters);
      expect([status, json.errors]).toEqual([400, [expect.objectContaining({ path, code })]]);
    }
    expect((await ask({ metric: "messages_sent", from: "2025-09-27T23:00:00Z" })).status).toBe(200);
    expect((await ask({ metric: "messages_sent", account_id: "nobody" })).json.code).toBe(
      "account_not_found",
    );
  });
});
