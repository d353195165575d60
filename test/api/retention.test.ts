import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { insertEvents } from "../../src/db/queries/insert-events.js";
import { status } from "../sources/whatsapp-cloud-webhook.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { deliverSigned, WEBHOOK_SECRET } from "../support/signed-webhook.js";
import { newEvent } from "../support/work.js";
import { event, postEvents, postLines } from "./ingest-events.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({
    env: { WHATSAPP_APP_SECRET: WEBHOOK_SECRET, WHATSAPP_VERIFY_TOKEN: "verify-token" },
  });
});
afterAll(() => app.close());

const admin = (method: string, path: string, body?: unknown) =>
  call(app.url, method, path, { key: app.adminKey, body });

const FLOOR = "2025-09-01T00:00:00.000Z";
const keepFrom = (accountId: string) =>
  app.context.pool.query("update accounts set messages_from = $2 where account_id = $1", [accountId, FLOOR]);

describe("the retention of an account", () => {
  it("has defaults, is changed in part, and says what does not fit", async () => {
    await admin("POST", "/analytics/accounts", { account_id: "shop" });
    const defaults = { events_days: 400, messages_days: 430, quarters_days: 90, days_days: null };
    const path = "/analytics/accounts/shop";
    expect((await admin("GET", path)).json.retention).toEqual(defaults);
    const change = (retention: unknown) => admin("PATCH", path, { retention });
    expect((await change({ quarters_days: 30 })).json.retention).toEqual({ ...defaults, quarters_days: 30 });
    expect((await change({ days_days: 800 })).json.retention).toEqual({
      ...defaults,
      quarters_days: 30,
      days_days: 800,
    });
    const refused = async (retention: unknown) => {
      const { status, json } = await change(retention);
      return [status, json.errors.map((issue: { path: string }) => issue.path), json.errors[0].message];
    };
    expect(await refused({ events_days: 401 })).toEqual([
      400,
      ["retention.messages_days"],
      "must be at least 431, 30 more than events_days",
    ]);
    expect(await refused({ days_days: 29 })).toEqual([
      400,
      ["retention.days_days"],
      expect.stringContaining("at least 30"),
    ]);
    expect(await refused({ events_days: 0 })).toEqual([400, ["retention.events_days"], expect.any(String)]);
    expect(await refused({ quarters_days: null })).toEqual([
      400,
      ["retention.quarters_days"],
      expect.any(String),
    ]);
    expect((await change({ weeks: 1 })).status).toBe(400);
    expect((await change({ events_days: 500, messages_days: 530, days_days: null })).json.retention).toEqual({
      events_days: 500,
      messages_days: 530,
      quarters_days: 30,
      days_days: null,
    });
  });
});

describe("events before an account's floor", () => {
  it("are refused one by one, naming it", async () => {
    await admin("POST", "/analytics/accounts", { account_id: "acme" });
    await keepFrom("acme");
    const old = event("old", { occurred_at: "2025-08-31T23:59:59.999Z" });
    const young = event("young", { occurred_at: FLOOR });
    const refusal = { code: "too_old", message: `occurred_at: the account keeps messages from ${FLOOR} on` };
    expect((await postEvents(app, [young, old, { ...old, account_id: "other" }])).json).toEqual({
      accepted: 2,
      duplicates: 0,
      rejected: [{ index: 1, ...refusal }],
      rejected_total: 1,
    });
    const lines = [old, young].map((one) => JSON.stringify(one)).join("\n");
    expect((await postLines(app, lines)).json).toMatchObject({
      accepted: 0,
      duplicates: 1,
      rejected: [{ index: 0, ...refusal }],
    });
  });

  it("of a webhook are quarantined", async () => {
    expect((await deliverSigned(app.url, status("sent"))).json).toMatchObject({
      accepted: 1,
      quarantined: 0,
    });
    await app.context.pool.query("update accounts set messages_from = $1", [FLOOR]);
    // Believed a few seconds later.
    const again = status("sent", { id: "wamid.other" });
    await expect
      .poll(async () => (await deliverSigned(app.url, again)).json, { timeout: 10_000, interval: 500 })
      .toMatchObject({ accepted: 0, quarantined: 1 });
    const { rows } = await app.context.pool.query("select reason, kind from quarantined_events");
    expect(rows).toEqual([{ reason: "too_old", kind: "message.sent" }]);
  });

  it("that slip through make no message", async () => {
    await admin("POST", "/analytics/accounts", { account_id: "slip" });
    await keepFrom("slip");
    await insertEvents(app.context.db, [
      newEvent("slip", "old", "sent", "2025-08-31T23:59:59Z"),
      newEvent("slip", "young", "sent", FLOOR),
    ]);
    expect(await foldBatch(app.context.db, "slip", { limit: 10 })).toMatchObject({ events: 2, messages: 1 });
  });
});
