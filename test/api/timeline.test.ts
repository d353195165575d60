import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { timelineStatement } from "../../src/db/queries/timeline.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { call, startTestApp, type TestApp } from "../support/app.js";
import { storeEvents } from "../support/stored-events.js";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  for (const account_id of ["shop", "other"])
    await call(app.url, "POST", "/analytics/accounts", { key: app.adminKey, body: { account_id } });
});
afterAll(() => app.close());

async function store(accountId: string, events: readonly Omit<EventJson, "account_id">[]) {
  await storeEvents(
    app.context.db,
    accountId,
    events.map((event) => ({ account_id: accountId, ...event })),
  );
  await foldBatch(app.context.db, accountId, { limit: 10_000 });
}

const get = (chat: string, query: Record<string, string> = {}, key = app.adminKey) => {
  const parameters = new URLSearchParams({ account_id: "shop", ...query });
  return call(app.url, "GET", `/analytics/timeline/${encodeURIComponent(chat)}?${parameters}`, { key });
};
const idsOf = (reply: { json: { data: { message_id: string }[] } }) =>
  reply.json.data.map((message) => message.message_id);

async function pages(chat: string, query: Record<string, string>): Promise<string[][]> {
  const found: string[][] = [];
  let cursor: string | null = null;
  do {
    const reply = await get(chat, { ...query, ...(cursor === null ? {} : { cursor }) });
    expect(reply.status).toBe(200);
    found.push(idsOf(reply));
    cursor = reply.json.next_cursor;
  } while (cursor !== null);
  return found;
}

const at = (second: number) => new Date(Date.parse("2026-03-02T10:00:00Z") + second * 1_000).toISOString();
const received = (id: string, second: number, more: Partial<EventJson> = {}) => ({
  type: "message.received" as const,
  message_id: id,
  occurred_at: at(second),
  ...more,
});

describe("GET /analytics/timeline/{chat}", () => {
  it("tells the whole life of each message, the newest first", async () => {
    const chat = { chat_id: "49/1 ü", chat_kind: "direct" as const, contact_id: "491" };
    const out = { ...chat, channel_id: "c1", origin: "human", agent_id: "ann" };
    await store("shop", [
      received("in", 0, { ...chat, channel_id: "c1", content_kind: "text", text_length: 12 }),
      received("in", 90, { type: "message.edited" }),
      { type: "message.queued", message_id: "out", occurred_at: at(60), time_quality: "gateway", ...out },
      {
        type: "message.sent",
        message_id: "out",
        occurred_at: at(61),
        reply_to: "in",
        campaign_id: "spring",
        template: { name: "hello", language: "de" },
      },
      {
        type: "message.failed",
        message_id: "out",
        occurred_at: at(62),
        error: { code: 131026, class: "recipient", title: "Undeliverable" },
      },
    ]);
    const reply = await get("49/1 ü");
    expect(reply.status).toBe(200);
    const stages = {
      queued_at: null,
      accepted_at: null,
      sent_at: null,
      delivered_at: null,
      read_at: null,
      played_at: null,
      failed_at: null,
      received_at: null,
      deleted_at: null,
      edited_at: null,
      revoked_at: null,
    };
    const shared = {
      ...stages,
      reactions: [],
      channel_id: "c1",
      chat_id: "49/1 ü",
      chat_kind: "direct",
      contact_id: "491",
    };
    expect(reply.json).toEqual({
      data: [
        {
          ...shared,
          message_id: "out",
          at: at(60),
          time_quality: "gateway",
          direction: "outbound",
          status: "failed",
          content_kind: null,
          text_length: null,
          reply_to: "in",
          origin: "human",
          agent_id: "ann",
          campaign_id: "spring",
          template: { name: "hello", id: null, language: "de", category: null },
          error: { code: "131026", class: "recipient", title: "Undeliverable" },
          queued_at: at(60),
          sent_at: at(61),
          failed_at: at(62),
        },
        {
          ...shared,
          message_id: "in",
          at: at(0),
          time_quality: "provider",
          direction: "inbound",
          status: "received",
          content_kind: "text",
          text_length: 12,
          reply_to: null,
          origin: null,
          agent_id: null,
          campaign_id: null,
          template: null,
          error: null,
          received_at: at(0),
          edited_at: at(90),
        },
      ],
      next_cursor: null,
    });
  });

  it("shows the reactions that stand on each message", async () => {
    const react = (emoji: string | undefined, second: number, contact_id?: string) => ({
      type: emoji === undefined ? ("reaction.removed" as const) : ("reaction.added" as const),
      occurred_at: new Date(Date.parse(at(second)) + 123).toISOString(),
      ...(contact_id === undefined ? {} : { contact_id }),
      reaction: { target: "liked", ...(emoji === undefined ? {} : { emoji }) },
    });
    await store("shop", [
      received("plain", 1, { chat_id: "reactions" }),
      received("liked", 0, { type: "message.sent", chat_id: "reactions" }),
      react("👍", 9, "bob"),
      react("👍", 5, "ann"),
      react("❤️", 7, "ann"),
      react("😀", 3),
      react("😀", 4, "gone"),
      react(undefined, 6, "gone"),
    ]);
    const { json } = await get("reactions");
    const time = (second: number) => at(second).replace(".000Z", ".123Z");
    expect(json.data.map((message: { reactions: unknown }) => message.reactions)).toEqual([
      [],
      [
        { author: null, emoji: "😀", at: time(3) },
        { author: "ann", emoji: "❤️", at: time(7) },
        { author: "bob", emoji: "👍", at: time(9) },
      ],
    ]);
  });

  it("puts a question before the answer of the same time, also from page to page", async () => {
    const chat = { chat_id: "second" };
    await store("shop", [
      ...["z1", "z2"].map((id) => received(id, 0, chat)),
      ...["a1", "a2"].map((id) => received(id, 0, { ...chat, type: "message.sent" })),
    ]);
    const order = ["z1", "z2", "a1", "a2"];
    for (const limit of ["1", "3"]) {
      expect((await pages("second", { order: "asc", limit })).flat()).toEqual(order);
      expect((await pages("second", { limit })).flat()).toEqual(order.toReversed());
    }
  });

  it("comes in pages, also through messages of one instant and times of all qualities", async () => {
    const qualities = ["provider", "gateway", "observed", "inferred"] as const;
    const events = Array.from({ length: 23 }, (_, index) =>
      received(`p${String(index).padStart(2, "0")}`, Math.floor(index / 8), {
        chat_id: "paged",
        channel_id: index % 2 === 0 ? "even" : "odd",
        time_quality: qualities[Math.floor(index / 2) % 4]!,
      }),
    );
    await store("shop", events);
    const rank = (event: (typeof events)[number]) =>
      `${event.occurred_at} ${qualities.indexOf(event.time_quality!)} ${event.message_id}`;
    const ascending = events.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1)).map((one) => one.message_id);
    for (const limit of ["1", "4", "23", "200"]) {
      const forth = await pages("paged", { limit, order: "asc" });
      expect(forth.flat()).toEqual(ascending);
      expect(forth.every((page) => page.length <= Number(limit))).toBe(true);
      expect((await pages("paged", { limit })).flat()).toEqual(ascending.toReversed());
    }
    const odd = events.filter((event) => event.channel_id === "odd").map((event) => event.message_id);
    expect((await pages("paged", { limit: "5", channel_id: "odd" })).flat().sort()).toEqual(odd);
    const second = await pages("paged", { from: at(1), to: at(2), limit: "3" });
    expect(second.flat().sort()).toEqual(events.slice(8, 16).map((event) => event.message_id));
  });

  it("of a chat without an id is found by its contact, and only then", async () => {
    await store("shop", [
      received("direct", 0, { contact_id: "one" }),
      received("grouped", 1, { contact_id: "one", chat_id: "group", chat_kind: "group" }),
    ]);
    expect(idsOf(await get("one"))).toEqual(["direct"]);
    expect(idsOf(await get("group"))).toEqual(["grouped"]);
  });

  it("is 404 for a chat that the account does not have, empty for a time without messages", async () => {
    await store("other", [received("x", 0, { chat_id: "theirs" })]);
    await store("shop", [received("y", 0, { chat_id: "ours" })]);
    const unknown = await get("theirs");
    expect([unknown.status, unknown.json.code]).toEqual([404, "chat_not_found"]);
    expect((await get("theirs", { account_id: "nobody" })).json.code).toBe("account_not_found");
    expect((await get("\0")).status).toBe(404);
    const empty = await get("ours", { from: at(1) });
    expect([empty.status, empty.json]).toEqual([200, { data: [], next_cursor: null }]);
    const key = (
      await call(app.url, "POST", "/analytics/keys", {
        key: app.adminKey,
        body: { name: "v", role: "viewer", account_ids: ["other"] },
      })
    ).json.key;
    expect((await get("ours", {}, key)).json.code).toBe("account_not_found");
    expect((await get("theirs", { account_id: "other" }, key)).status).toBe(200);
  });

  it("refuses what it does not understand", async () => {
    const cursor = (place: unknown) => Buffer.from(JSON.stringify(place)).toString("base64url");
    const refused: [Record<string, string>, path: string, message: RegExp][] = [
      [{ limit: "201" }, "limit", /1 to 200/],
      [{ order: "newest" }, "order", /asc or desc/],
      [{ from: "2026-03-02" }, "from", /RFC 3339/],
      [{ from: "1999-12-31T00:00:00Z" }, "from", /2000-01-01 to 2100/],
      [{ from: at(1), to: at(1) }, "to", /later than from/],
      [{ chat: "x" }, "chat", /unknown/],
      [{ cursor: "x" }, "cursor", /cursor of this list/],
      [{ cursor: cursor(["0000-01-01T00:00:00.000000Z", false, "x"]) }, "cursor", /cursor of this list/],
    ];
    for (const [query, path, message] of refused) {
      const reply = await get("any", query);
      expect([reply.status, reply.json.errors]).toEqual([
        400,
        [expect.objectContaining({ path, message: expect.stringMatching(message) })],
      ]);
    }
  });

  it("finds a chat that is named like the parameter of the path", async () => {
    await store("shop", [received("named", 0, { chat_id: ":chat" })]);
    const path = "/analytics/timeline/:chat?account_id=shop";
    expect(idsOf(await call(app.url, "GET", path, { key: app.adminKey }))).toEqual(["named"]);
  });

  it("takes ids of the greatest length, in any script", async () => {
    // Nothing in them repeats, so the database cannot store them in less.
    const text = (length: number, seed: number) =>
      Array.from({ length }, (_, index) =>
        String.fromCharCode(0x4e00 + ((index * 7_919 + seed * 104_729 + index * index * 31) % 20_000)),
      ).join("");
    const account_id = text(128, 1);
    await call(app.url, "POST", "/analytics/accounts", { key: app.adminKey, body: { account_id } });
    const id = text(512, 2);
    await store(account_id, [received(id, 0, { chat_id: text(512, 3) })]);
    expect(idsOf(await get(text(512, 3), { account_id }))).toEqual([id]);
  });

  it("reads an index range in order, without sorting more than messages of one instant", async () => {
    await app.context.pool.query(`
      insert into messages (account_id, message_id, chat_id, contact_id, anchor_at, received_at, updated_at)
      select 'busy', 'm' || n, case when n % 2 = 0 then 'chat-' || n % 50 end, 'contact-' || n % 50,
             '2026-01-01'::timestamptz + n * interval '1 minute', now(), now()
      from generate_series(1, 20000) n`);
    await app.context.pool.query("analyze messages");
    const plan = async (more: Partial<Parameters<typeof timelineStatement>[0]>) => {
      const page = { accountId: "busy", chat: "chat-2", order: "desc" as const, limit: 101, ...more };
      const { sql, parameters } = timelineStatement(page).compile(app.context.db);
      const { rows } = await app.context.pool.query(`explain (analyze) ${sql}`, [...parameters]);
      return rows.map((row) => row["QUERY PLAN"] as string).join("\n");
    };
    const after = ["2026-01-08T00:00:00.000001Z", false, "m5"] as const;
    for (const more of [{}, { order: "asc" as const }, { after }, { after, from: new Date("2026-01-03") }]) {
      // Behind that the reactions of each message are sorted.
      const text = (await plan({ ...more, limit: 11 })).split("SubPlan")[0]!;
      expect(text).toMatch(/Index Scan (Backward )?using messages_\d_/);
      expect(text).not.toMatch(/Seq Scan|Bitmap|(?<!Incremental )Sort {2}\(/);
      // The page, and the few rows more by which the sort knows that an instant is complete.
      for (const [, rows] of text.matchAll(/Index Scan.*rows=(\d+)[^(]*loops/g))
        expect(Number(rows)).toBeLessThan(70);
    }
  });
});
