import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rebuildConversations } from "../../src/db/conversations/rebuild.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { findConfiguredAccount } from "../../src/db/queries/accounts.js";
import { flowsSql } from "../../src/db/queries/read-flows.js";
import { rulesOf } from "../../src/jobs/rebuild-conversations.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { storeEvents } from "../support/stored-events.js";

let app: TestApp;

/** A conversation of a chat of its own, a minute a message. */
function conversation(chat: string, start: string, steps: Partial<EventJson>[]): EventJson[] {
  return steps.map((step, index) => ({
    account_id: "shop",
    type: step.template || step.content_kind === "answer" ? "message.sent" : "message.received",
    message_id: `${chat}-${index}`,
    chat_id: chat,
    occurred_at: new Date(Date.parse(start) + index * 60_000).toISOString(),
    ...step,
  }));
}
const offer = { template: { name: "offer" } };
const yes = { content_kind: "button", interactive: { kind: "button", id: "yes" } };
const text = { content_kind: "text" };
const answer = { content_kind: "answer" };

const many = (count: number, name: string, start: string, steps: Partial<EventJson>[]) =>
  Array.from({ length: count }, (_, index) => conversation(`${name}${index}`, start, steps)).flat();

const rebuild = async () =>
  rebuildConversations(
    app.context.db,
    "shop",
    rulesOf((await findConfiguredAccount(app.context.db, "shop"))!),
    { limit: 1_000 },
  );

beforeAll(async () => {
  app = await startTestApp();
  const body = { account_id: "shop", time_zone: "Europe/Berlin" };
  await call(app.url, "POST", "/analytics/accounts", { key: app.adminKey, body });
  await storeEvents(app.context.db, "shop", [
    ...many(6, "bought", "2025-03-03T10:00:00Z", [offer, yes, answer]),
    ...many(5, "ignored", "2025-03-04T10:00:00Z", [offer]),
    ...many(2, "asked", "2025-03-04T10:00:00Z", [offer, text, text, answer]),
    // 23:30 on 2 March in Berlin, and half an hour after midnight on the 5th.
    ...many(1, "before", "2025-03-02T22:30:00Z", [text, answer]),
    ...many(5, "after", "2025-03-04T23:30:00Z", [text]),
  ]);
  await foldBatch(app.context.db, "shop", { limit: 1_000 });
});
afterAll(() => app.close());

const range = { from: "2025-03-03T00:00:00+01:00", to: "2025-03-05T00:00:00+01:00" };
const get = (parameters: Record<string, string>) =>
  call(app.url, "GET", `/analytics/flows?${new URLSearchParams({ account_id: "shop", ...parameters })}`, {
    key: app.adminKey,
  });
const ask = (parameters: Record<string, string> = {}) => get({ ...range, ...parameters });

describe("GET /analytics/flows", () => {
  it("is as of before the events while their chats wait to be read", async () => {
    const waiting = await ask();
    expect(waiting.json).toMatchObject({ conversations: 0, nodes: [], links: [] });
    await rebuild();
    const { json } = await ask();
    expect(Date.parse(waiting.json.as_of)).toBeLessThan(Date.parse(json.as_of));
    expect(json.conversations).toBe(13);
  });

  it("has nodes by position and the ways between them, and tells no way that few took", async () => {
    const { status, json } = await ask();
    expect(status).toBe(200);
    const node = (position: number, step: string, kind: string, label: string) => ({
      id: `${position}:${step}`,
      position,
      step,
      kind,
      label,
    });
    expect(json).toEqual({
      account_id: "shop",
      from: "2025-03-02T23:00:00.000Z",
      to: "2025-03-04T23:00:00.000Z",
      time_zone: "Europe/Berlin",
      as_of: expect.stringMatching(/Z$/),
      conversations: 13,
      nodes: [
        {
          ...node(1, "template:offer", "template", "offer"),
          conversations: 13,
          drop_off: 5,
          drop_off_rate: 5 / 13,
        },
        { ...node(2, "button:yes", "button", "yes"), conversations: 6, drop_off: 0, drop_off_rate: 0 },
        { ...node(3, "out:answer", "outbound", "answer"), conversations: 8, drop_off: 8, drop_off_rate: 1 },
      ],
      links: [
        { source: "1:template:offer", target: "2:button:yes", conversations: 6 },
        { source: "2:button:yes", target: "3:out:answer", conversations: 6 },
      ],
      hidden: { links: 2, conversations: 4 },
    });
  });

  it("goes as deep as is asked for, and tells more where that is asked for", async () => {
    const { json } = await ask({ depth: "2", min_conversations: "1" });
    expect(json.nodes.map((node: { id: string; drop_off: number }) => [node.id, node.drop_off])).toEqual([
      ["1:template:offer", 5],
      ["2:button:yes", 0],
      ["2:in:text", 0],
    ]);
    expect(json.links).toHaveLength(2);
    expect(json.hidden).toEqual({ links: 0, conversations: 0 });
    const strict = (await ask({ min_conversations: "6" })).json;
    // Five ended after the offer: fewer than may be told, and not none.
    expect(strict.nodes[0]).toMatchObject({ conversations: 13, drop_off: null, drop_off_rate: null });
    expect(strict.hidden).toEqual({ links: 3, conversations: 9 });
  });

  it("counts conversations on the local day of their beginning", async () => {
    const of = async (from: string, to: string) => (await ask({ from, to })).json.conversations;
    expect(await of("2025-03-02T00:00:00+01:00", range.from)).toBe(1);
    expect(await of(range.to, "2025-03-06T00:00:00+01:00")).toBe(5);
    expect(await of("2025-03-06T00:00:00+01:00", "2025-03-07T00:00:00+01:00")).toBe(0);
  });

  it("refuses what it does not understand", async () => {
    const refused: [Record<string, string>, path: string, code: string][] = [
      [{ from: "2025-03-03T00:00:00Z" }, "from", "not_a_local_day"],
      [{ to: "2025-03-05T01:00:00+01:00" }, "to", "not_a_local_day"],
      [{ to: range.from }, "to", "empty_range"],
      [{ from: "2024-01-01T00:00:00+01:00" }, "to", "range_too_long"],
      [{ depth: "0" }, "depth", "out_of_range"],
      [{ depth: "21" }, "depth", "out_of_range"],
      [{ min_conversations: "0" }, "min_conversations", "out_of_range"],
      [{ min_conversations: "many" }, "min_conversations", "invalid_format"],
      [{ time_zone: "UTC" }, "time_zone", "unknown_parameter"],
    ];
    for (const [parameters, path, code] of refused) {
      const { status, json } = await ask(parameters);
      expect([status, json.errors]).toEqual([400, [expect.objectContaining({ path, code })]]);
    }
    expect((await ask({ from: "2025-03-03T00:00:00Z" })).json.errors[0].message).toContain("Europe/Berlin");
    expect((await ask({ account_id: "nobody" })).json.code).toBe("account_not_found");
  });

  it("takes 400 days whether clocks change in them or not, and no day more", async () => {
    const of = async (from: string, to: string) => {
      const { status, json } = await ask({ from, to });
      return status === 200 ? 200 : json.errors[0].code;
    };
    // Over two autumns, over two springs and one autumn, over one of each.
    expect(await of("2024-10-01T00:00:00+02:00", "2025-11-05T00:00:00+01:00")).toBe(200);
    expect(await of("2024-10-01T00:00:00+02:00", "2025-11-06T00:00:00+01:00")).toBe("range_too_long");
    expect(await of("2024-03-25T00:00:00+01:00", "2025-04-29T00:00:00+02:00")).toBe(200);
    expect(await of("2024-03-25T00:00:00+01:00", "2025-04-30T00:00:00+02:00")).toBe("range_too_long");
    expect(await of("2024-06-01T00:00:00+02:00", "2025-07-06T00:00:00+02:00")).toBe(200);
  });

  it("says so while the days of another zone are being counted", async () => {
    const { pool } = app.context;
    const { rows } = await pool.query("select zone_id from accounts where account_id = 'shop'");
    await pool.query("update accounts set zone_id = null where account_id = 'shop'");
    const { status, json } = await ask();
    expect([status, json.code]).toEqual([503, "days_being_built"]);
    await pool.query("update accounts set zone_id = $1 where account_id = 'shop'", [rows[0].zone_id]);
  });

  it("reads an index range of the edges, by account, zone and day", async () => {
    const { pool } = app.context;
    await pool.query(`insert into flow_edges (account_id, zone_id, day, edge_id, position, from_step, to_step, conversations)
      select 'full-' || account, 1, '2025-01-01'::date + day, md5(edge::text)::uuid, edge % 6, 'in:text', 'out:text', 1
      from generate_series(1, 10) account, generate_series(0, 99) day, generate_series(1, 30) edge`);
    await pool.query("analyze flow_edges");
    const { rows } = await pool.query(`explain ${flowsSql}`, ["full-3", 1, "2025-02-01", "2025-02-08", 6, 5]);
    const lines = rows.map((row) => row["QUERY PLAN"] as string).join("\n");
    expect(lines).toMatch(/Index Scan (using|on) flow_edges_pkey/);
    expect(lines).toMatch(/Index Cond: .*account_id.*zone_id.*day.*day/);
    expect(lines).not.toMatch(/Seq Scan on (flow_edges|message_events|conversation_marks)/);
  });
});
