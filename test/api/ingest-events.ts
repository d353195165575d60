import { sql } from "kysely";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { call, type Reply, type TestApp } from "../support/app.js";

/** A good event; `id` tells it apart. */
export const event = (id: number | string, rest: Partial<EventJson> = {}): EventJson => ({
  account_id: "acme",
  type: "message.sent",
  message_id: `m-${id}`,
  occurred_at: "2026-01-15T10:00:00.123Z",
  ...rest,
});

export const postEvents = (app: TestApp, events: unknown[], key = app.adminKey): Promise<Reply> =>
  call(app.url, "POST", "/analytics/events", { key, body: { events } });

export const postLines = (
  app: TestApp,
  raw: string | Uint8Array,
  options: { key?: string; headers?: Record<string, string> } = {},
): Promise<Reply> =>
  call(app.url, "POST", "/analytics/events", {
    key: options.key ?? app.adminKey,
    raw,
    headers: { "content-type": "application/x-ndjson", ...options.headers },
  });

export async function countEvents(app: TestApp, accountId: string): Promise<number> {
  const counted = await sql<{ count: number }>`
    select count(*) from message_events where account_id = ${accountId}`.execute(app.context.db);
  return counted.rows[0]!.count;
}

/** Everything that ingest stores, as text. */
export async function dumpStored(app: TestApp): Promise<string> {
  const rows = await sql<{ row: string }>`
    select row_to_json(e)::text as row from message_events e
    union all select row_to_json(q)::text from quarantined_events q
    union all select row_to_json(a)::text from accounts a`.execute(app.context.db);
  return rows.rows.map(({ row }) => row).join("\n");
}

/** A key of the ingest role for these accounts only. */
export async function scopedKey(app: TestApp, accounts: string[]): Promise<string> {
  const reply = await call(app.url, "POST", "/analytics/keys", {
    key: app.adminKey,
    body: { name: "scoped", role: "ingest", account_ids: accounts },
  });
  if (reply.status !== 201) throw new Error(reply.text);
  return reply.json.key as string;
}
