import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { metrics } from "../../src/analytics/catalog.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { insertEvents, type NewEvent } from "../../src/db/queries/insert-events.js";
import { call, startTestApp, type TestApp } from "../support/app.js";

let app: TestApp;
let events = 0;

const event = (messageId: string, type: string, time: string, more: Partial<NewEvent> = {}): NewEvent => ({
  accountId: "shop",
  eventKey: `00000000-0000-0000-0000-${String(++events).padStart(12, "0")}`,
  keyHash: events,
  occurredAtMs: Date.parse(time),
  timeQuality: 0,
  type: `message.${type}`,
  direction: "outbound",
  messageId,
  ...more,
});

beforeAll(async () => {
  app = await startTestApp();
  for (const body of [{ account_id: "shop", time_zone: "Europe/Berlin" }, { account_id: "other" }])
    await admin("POST", "/analytics/accounts", body);
  await insertEvents(app.context.db, [
    event("1", "sent", "2025-03-30T08:00:00Z", { template: "a,b", channelId: "c1" }),
    event("1", "delivered", "2025-03-30T08:00:02Z"),
    event("2", "sent", "2025-03-30T22:30:00Z", { template: "offer", channelId: "c2" }),
    event("3", "sent", "2025-03-30T23:30:00Z", { channelId: "c2" }),
  ]);
  await foldBatch(app.context.db, "shop", { limit: 100 });
});
afterAll(() => app.close());

const admin = (method: string, path: string, body?: unknown) =>
  call(app.url, method, path, { key: app.adminKey, body });

const range = { account_id: "shop", from: "2025-03-29T23:00:00Z", to: "2025-04-01T00:00:00+02:00" };
const get = (parameters: Record<string, string>, key = app.adminKey) =>
  call(app.url, "GET", `/analytics/metrics?${new URLSearchParams(parameters)}`, { key });
const ask = (parameters: Record<string, string>) => get({ ...range, ...parameters });

async function refusal(parameters: Record<string, string>) {
  const reply = await get(parameters);
  expect(reply.status).toBe(400);
  expect(reply.headers.get("content-type")).toMatch("application/problem+json");
  return reply.json.errors?.[0] ?? reply.json;
}

describe("GET /analytics/metrics", () => {
  it("answers with what was asked, days in the zone of the account", async () => {
    const reply = await ask({ metrics: "messages_sent,delivery_rate,time_to_deliver_p50" });
    expect(reply.status).toBe(200);
    expect(reply.json).toEqual({
      account_id: "shop",
      from: "2025-03-29T23:00:00.000Z",
      to: "2025-03-31T22:00:00.000Z",
      interval: "day",
      time_zone: "Europe/Berlin",
      basis: "cohort",
      groups: "exclude",
      responders: "human",
      clock: "first",
      hours: "elapsed",
      coverage: { provider_time: 1, receipts: 1 / 3 },
      notes: [],
      as_of: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      rows: [
        {
          bucket: "2025-03-29T23:00:00.000Z",
          messages_sent: 1,
          delivery_rate: 1,
          time_to_deliver_p50: expect.closeTo(2, 1),
        },
        { bucket: "2025-03-30T22:00:00.000Z", messages_sent: 2, delivery_rate: 0, time_to_deliver_p50: null },
      ],
      totals: [{ messages_sent: 3, delivery_rate: 1 / 3, time_to_deliver_p50: expect.closeTo(2, 1) }],
    });
    expect(Object.keys(reply.json.rows[0])).toEqual([
      "bucket",
      "messages_sent",
      "delivery_rate",
      "time_to_deliver_p50",
    ]);
  });

  it("gives counts and rates when no metric is named", async () => {
    const { json } = await ask({ interval: "all", time_zone: "UTC" });
    expect(json.rows).toEqual([{ bucket: json.from, ...json.totals[0] }]);
    expect(Object.keys(json.totals[0])).toHaveLength(12);
    expect(json.totals[0]).toMatchObject({ messages_sent: 3, messages_pending: 2, read_rate: 0 });
    expect(json.time_zone).toBe("UTC");
  });

  it("says why nothing of the queue is measured, whatever the reason", async () => {
    await admin("POST", "/analytics/accounts", { account_id: "queue" });
    await insertEvents(app.context.db, [
      event("q", "queued", "2025-03-30T08:00:00Z", { accountId: "queue", channelId: "c1" }),
      event("p", "sent", "2025-03-30T08:00:00Z", { accountId: "queue", channelId: "c2" }),
    ]);
    await foldBatch(app.context.db, "queue", { limit: 100 });
    const metrics = { metrics: "queue_depth,messages_sent" };
    const inQueue = { ...metrics, account_id: "queue" };
    const note = {
      metric: "queue_depth",
      code: "not_measured",
      message:
        "Nothing that was asked for is known to have been queued (message.queued) before the end of the range.",
    };
    expect((await ask(inQueue)).json).toMatchObject({ notes: [], totals: [{ queue_depth: 1 }] });
    for (const nothing of [
      // No source of the account says it; what is filtered was not queued; nothing was so early.
      { ...metrics },
      { ...inQueue, "filter[channel_id]": "c2" },
      { ...inQueue, from: "2025-03-01T00:00:00Z", to: "2025-03-02T00:00:00Z" },
    ])
      expect((await ask(nothing)).json).toMatchObject({ notes: [note], totals: [{ queue_depth: null }] });
  });

  it("groups and filters by dimensions, unknown values included", async () => {
    const metric = { metrics: "messages_sent", interval: "all" };
    const grouped = await ask({ ...metric, group_by: "channel_id,template" });
    expect(grouped.json.totals).toEqual([
      { channel_id: "c1", template: "a,b", messages_sent: 1 },
      { channel_id: "c2", template: "offer", messages_sent: 1 },
      { channel_id: "c2", template: null, messages_sent: 1 },
    ]);
    const sent = async (filters: Record<string, string>) =>
      (await ask({ ...metric, ...filters })).json.totals[0].messages_sent;
    expect(await sent({ "filter[template]": "offer" })).toBe(1);
    expect(await sent({ "filter[template]": "a,b" })).toBe(0);
    expect(await sent({ "filter[template]": "a\\,b" })).toBe(1);
    expect(await sent({ "filter[template]": "" })).toBe(1);
    expect(await sent({ "filter[template]": ",offer" })).toBe(2);
    expect(await sent({ "filter[template]": "offer\\" })).toBe(0);
    expect(await sent({ "filter[template]": "offer,", "filter[channel_id]": "c1" })).toBe(0);
    expect(await sent({ "filter[direction]": "outbound", "filter[channel_id]": "c2,c1" })).toBe(3);
    expect(await sent({ "filter[direction]": "sideways" })).toBe(0);
  });

  it("says why it is null of a combination whose queue is not measured, beside one whose queue is", async () => {
    await admin("POST", "/analytics/accounts", { account_id: "queues" });
    const own = (messageId: string, type: string, channelId: string) =>
      event(messageId, type, range.from, { accountId: "queues", channelId });
    await insertEvents(app.context.db, [
      own("a", "queued", "queued"),
      own("a", "sent", "queued"),
      own("b", "sent", "sent"),
    ]);
    await foldBatch(app.context.db, "queues", { limit: 100 });
    const asked = { account_id: "queues", metrics: "queue_depth,messages_sent", interval: "all" };
    const { json } = await ask({ ...asked, group_by: "channel_id" });
    expect(json.totals).toEqual([
      { channel_id: "queued", queue_depth: 0, messages_sent: 1 },
      { channel_id: "sent", queue_depth: null, messages_sent: 1 },
    ]);
    const notes = [{ metric: "queue_depth", code: "not_measured", message: expect.any(String) }];
    expect(json.notes).toEqual(notes);
    const noted = async (more: Record<string, string>) => (await ask({ ...asked, ...more })).json.notes;
    expect(await noted({})).toEqual([]);
    expect(await noted({ group_by: "channel_id", "filter[channel_id]": "queued" })).toEqual([]);
    expect(await noted({ "filter[channel_id]": "sent" })).toEqual(notes);
  });

  it("names what is wrong", async () => {
    const { account_id: _, ...noAccount } = range;
    const { from: __, ...noFrom } = range;
    const wrong = (more: Record<string, string>) => refusal({ ...range, ...more });
    expect(await refusal(noAccount)).toMatchObject({ path: "account_id", code: "required" });
    expect(await refusal(noFrom)).toMatchObject({ path: "from", code: "required" });
    expect(await wrong({ metrics: "messages_sent,delivry_rate" })).toMatchObject({
      path: "metrics[1]",
      code: "unknown_metric",
      message: expect.stringMatching(/"delivry_rate".*delivery_rate.*\/analytics\/metrics\/catalog/),
    });
    expect(await wrong({ metrics: "" })).toMatchObject({ path: "metrics" });
    expect(await wrong({ from: "yesterday" })).toMatchObject({
      path: "from",
      message: expect.stringContaining("RFC 3339"),
    });
    expect(await wrong({ from: "2025-03-30T08:01:00Z" })).toMatchObject({ code: "not_on_15_minutes" });
    expect(await wrong({ to: "2025-03-31T08:00:00.001Z" })).toMatchObject({ path: "to" });
    expect(await wrong({ from: "1999-12-31T00:00:00Z" })).toMatchObject({ code: "time_out_of_range" });
    expect(await wrong({ to: range.from })).toMatchObject({ path: "to", code: "empty_range" });
    expect(await wrong({ interval: "minute" })).toMatchObject({
      path: "interval",
      message: expect.stringMatching(/"minute".*15m, hour/),
    });
    expect(await wrong({ basis: "x" })).toMatchObject({ path: "basis" });
    expect(await wrong({ group_by: "chat_id" })).toMatchObject({
      path: "group_by[0]",
      message: expect.stringMatching(/"chat_id".*channel_id/),
    });
    expect(await wrong({ time_zone: "Mars/Olympus" })).toMatchObject({
      code: "unknown_time_zone",
      message: expect.stringContaining("Mars/Olympus"),
    });
    expect(await wrong({ "filter[chat_id]": "x" })).toMatchObject({
      path: "filter[chat_id]",
      code: "unknown_parameter",
    });
    expect(await wrong({ interval: "15m", to: "2025-09-01T00:00:00Z" })).toMatchObject({
      code: "too_many_buckets",
      detail: expect.stringContaining("10,000"),
    });
  });

  it("shows accounts within the scope only, to those who may read metrics", async () => {
    const keyOf = async (role: string) =>
      (await admin("POST", "/analytics/keys", { name: role, role, account_ids: ["other"] })).json.key;
    const viewer = await keyOf("viewer");
    expect((await get({ ...range, account_id: "other" }, viewer)).status).toBe(200);
    const foreign = await get(range, viewer);
    const missing = await get({ ...range, account_id: "nobody" });
    for (const reply of [foreign, missing])
      expect([reply.status, reply.json.code]).toEqual([404, "account_not_found"]);
    expect((await get({ ...range, account_id: "other" }, await keyOf("ingest"))).status).toBe(403);
    expect((await call(app.url, "GET", "/analytics/metrics")).status).toBe(401);
  });
});

describe("GET /analytics/metrics/catalog", () => {
  it("lists every metric", async () => {
    const { status, json } = await admin("GET", "/analytics/metrics/catalog");
    expect(status).toBe(200);
    expect(json.data.map((metric: { id: string }) => metric.id)).toEqual(metrics.map((metric) => metric.id));
    expect(json.data[8]).toEqual({
      id: "delivery_rate",
      family: "delivery",
      unit: "ratio",
      kind: "ratio",
      title: "Delivery rate",
      definition: expect.any(String),
      formula: "messages_delivered / messages_sent",
      dimensions: [
        "channel_id",
        "direction",
        "content_kind",
        "template",
        "campaign_id",
        "error_class",
        "error_code",
      ],
    });
    expect((await admin("GET", "/analytics/metrics/catalog?x=1")).status).toBe(400);
  });
});
