import type { PoolClient } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { openEventStream } from "../support/event-stream.js";
import { FILLED, fillTables } from "../support/filled-tables.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

let test: TestDb;
let app: TestApp;
/** What the service has asked its database since somebody looked. */
let asked: { text: string; values: unknown[] }[] = [];
beforeAll(async () => {
  test = await openTestDb();
  await fillTables(test.pool);
  app = await startTestApp({ databaseUrl: test.url });
  const heard = new WeakSet<PoolClient>();
  app.context.pool.on("acquire", (client) => {
    if (heard.has(client)) return;
    heard.add(client);
    const query = client.query.bind(client) as (...given: unknown[]) => unknown;
    client.query = ((text: unknown, values: unknown, ...rest: unknown[]) => {
      if (typeof text === "string" && /^\s*(select|with)/i.test(text))
        asked.push({ text, values: (values as unknown[]) ?? [] });
      return query(text, values, ...rest);
    }) as typeof client.query;
  });
}, 240_000);
afterAll(async () => {
  await app?.close();
  await test?.close();
});

const reads = "messages|message_events|rollups|daily_rollups|rollup_deltas|dimension_sets";
const grows = new RegExp(
  `Seq Scan on (${reads}|conversation|daily_conversation|contact_|flow_edges|accounts|account_zones|fold_watermarks)`,
);
const tables = new Set<string>();

/** The plans of what `act` makes the service ask. Values are planned for, as the driver sends them. */
async function plansOf(act: () => Promise<unknown>): Promise<string[]> {
  asked = [];
  await act();
  const statements = asked;
  return Promise.all(
    statements.map(async ({ text, values }) => {
      const { rows } = await test.pool.query<{ "QUERY PLAN": string }>(`explain ${text}`, values);
      return rows.map((row) => row["QUERY PLAN"]).join("\n");
    }),
  );
}

const get = async (path: string, parameters: Record<string, string>) =>
  (
    await call(
      app.url,
      "GET",
      `/analytics/${path}?${new URLSearchParams({ account_id: FILLED, ...parameters })}`,
      { key: app.adminKey },
    )
  ).status;

const days = { from: "2025-01-10T00:00:00Z", to: "2025-02-10T00:00:00Z" };
const week = { from: "2025-01-10T00:00:00Z", to: "2025-01-13T00:00:00Z", interval: "hour" };
const everyDay = { ...days, time_zone: "UTC" };
const counts = "messages_sent,delivery_rate";
const conversations = "conversations,reply_time_p90";

describe("no reader looks at all rows of a table", () => {
  it.each<[string, string, Record<string, string>, status?: number]>([
    ["days", "metrics", { ...everyDay, metrics: counts }],
    ["days by a dimension", "metrics", { ...everyDay, metrics: counts, group_by: "channel_id" }],
    [
      "days by dimensions",
      "metrics",
      { ...everyDay, metrics: counts, group_by: "channel_id,template", "filter[channel_id]": "c1," },
    ],
    ["percentiles of days", "metrics", { ...everyDay, metrics: "time_to_send_p95" }],
    ["quarters", "metrics", { ...week, metrics: counts }],
    ["quarters by a dimension", "metrics", { ...week, metrics: "time_to_send_p95", group_by: "channel_id" }],
    ["quarters by event", "metrics", { ...week, metrics: counts, basis: "event", "filter[template]": "" }],
    ["what was counted before", "metrics", { ...everyDay, metrics: "queue_depth", group_by: "channel_id" }],
    [
      "what waits in the queue",
      "metrics",
      { ...week, metrics: "queue_depth,queue_oldest_age", group_by: "channel_id" },
    ],
    ["conversations by day", "metrics", { ...everyDay, metrics: conversations, group_by: "channel_id" }],
    ["conversations by hour", "metrics", { ...week, metrics: conversations }],
    ["replies", "metrics", { ...week, metrics: "messages_replied,conversations" }],
    [
      "contacts",
      "metrics",
      { from: "2025-01-10T00:00:00Z", to: "2025-04-20T00:00:00Z", metrics: "active_contacts,new_contacts" },
    ],
    ["a heat map", "heatmap", { ...days, metric: "time_to_read_p50" }],
    ["a heat map of conversations", "heatmap", { ...days, metric: "conversations" }],
    ["flows", "flows", days],
    ["retention", "retention", { ...days, period: "day", periods: "3" }],
    ["a timeline", "timeline/chat-7", { limit: "10" }],
    ["a part of a timeline", "timeline/chat-7", { ...days, order: "asc", channel_id: "c1" }],
    ["a chat that is not there", "timeline/nobody", {}, 404],
  ])("of %s", async (_name, path, parameters, status = 200) => {
    const plans = await plansOf(async () => expect(await get(path, parameters)).toBe(status));
    expect(plans.length).toBeGreaterThan(0);
    for (const plan of plans) {
      expect(plan).not.toMatch(grows);
      for (const [, table] of plan.matchAll(/Scan.* on (\w+?)(?:_\d+)?\b/g)) tables.add(table!);
    }
  });

  it("of a stream, also when it only looks for news", async () => {
    const parameters = new URLSearchParams({ account_id: FILLED, ...everyDay, metrics: counts });
    const plans = await plansOf(async () => {
      const stream = await openEventStream(app.url, `/analytics/metrics/stream?${parameters}`, {
        authorization: `Bearer ${app.adminKey}`,
      });
      const opened = asked.length;
      await expect.poll(() => asked.length).toBeGreaterThan(opened + 1);
      stream.close();
    });
    for (const plan of plans) expect(plan).not.toMatch(grows);
  });

  it("and all of these tables were read by then", () => {
    for (const table of [
      ...reads.split("|"),
      ...["accounts", "fold_watermarks", "conversation_marks", "conversation_rollups"],
      ...["daily_conversation_rollups", "conversation_rollup_deltas", "conversation_sets"],
      ...["contact_presence", "contact_cohorts", "flow_edges"],
    ])
      expect([...tables].some((name) => name.startsWith(table))).toBe(true);
  });
});
