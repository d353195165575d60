import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultSettings, type SettingsChanges } from "../../src/analytics/account-settings.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { changeRetention } from "../../src/db/queries/account-retention.js";
import { findConfiguredAccount, updateAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { applyRetention } from "../../src/jobs/apply-retention.js";
import { foldEvents } from "../../src/jobs/fold-events.js";
import { rebuildConversationsJob } from "../../src/jobs/rebuild-conversations.js";
import { query } from "../support/metrics-cells.js";
import { newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

/** More than a first batch of chats: a question, the answer after an hour, thanks after another. */
const CHATS = 250;
const history = (accountId: string, chats = CHATS) =>
  Array.from({ length: chats }, (_, index) => {
    const facts = { chatId: `chat${index}`, channelId: "c1", contentKind: "text" };
    const at = (hour: number) => `2025-03-01T${String(9 + hour).padStart(2, "0")}:00:00Z`;
    return [
      newEvent(accountId, `q${index}`, "received", at(0), facts),
      newEvent(accountId, `a${index}`, "sent", at(1), { ...facts, origin: "human", agentId: "ann" }),
      newEvent(accountId, `t${index}`, "received", at(2), facts),
    ];
  }).flat();

const seed = async (accountId: string, chats = CHATS) => {
  await storeEvents(test, history(accountId, chats));
  return test.work(foldEvents, { accountId });
};
const rebuild = (accountId: string, overrides?: Parameters<typeof test.work>[2]) =>
  test.work(rebuildConversationsJob, { accountId }, overrides);

const count = async (table: string, accountId: string) =>
  (
    await test.pool.query<{ n: number }>(
      `select count(*)::integer as n from ${table} where account_id = $1`,
      [accountId],
    )
  ).rows[0]!.n;

const state = async (accountId: string) =>
  Promise.all(
    [
      "conversations",
      "conversation_turns",
      "flow_edges",
      "conversation_rollups",
      "daily_conversation_rollups",
    ].map(async (table) => {
      const { rows } = await test.pool.query<{ r: string }>(
        `select r::text as r from ${table} r where account_id = $1 order by 1`,
        [accountId],
      );
      return rows.map(({ r }) => r);
    }),
  );

const expectSound = async (accountId: string) => {
  expect(await count("conversation_marks", accountId)).toBe(0);
  expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });
};

describe("a rebuild of conversations", () => {
  it("waits for nobody who is marking chats, and reads those the next time", async () => {
    await seed("marked", 3);
    await test.db.transaction().execute(async (trx) => {
      const { rows } = await sql<{ chat_key: string }>`
        select chat_key from conversation_marks where account_id = 'marked' order by marked_at, chat_key limit 1
        for update`.execute(trx);
      expect(rows).toHaveLength(1);
      expect((await rebuild("marked")).result).toMatchObject({ stretches: 2, conversations: 2 });
    });
    expect((await rebuild("marked")).result).toMatchObject({ stretches: 1, conversations: 1 });
    await expectSound("marked");
  });

  it("takes what is sent in the second of a question for its answer, whatever their ids", async () => {
    const at = "2025-03-03T10:00:00Z";
    const facts = { chatId: "ann", channelId: "c1" };
    await storeEvents(test, [
      newEvent("second", "wamid.Z", "received", at, facts),
      newEvent("second", "wamid.A", "sent", at, { ...facts, origin: "bot" }),
      newEvent("second", "wamid.B", "received", "2025-03-03T10:00:09Z", facts),
    ]);
    await test.work(foldEvents, { accountId: "second" });
    await rebuild("second");
    const { rows } = await test.pool.query(
      `select slot, answered_at from conversation_turns where account_id = 'second' and lens & 1 = 1 order by slot`,
    );
    expect(rows).toEqual([
      { slot: 0, answered_at: new Date(at) },
      { slot: 1, answered_at: null },
    ]);
    // Not by the question, which has the same time and another id.
    const answered = await test.pool.query(
      "select answered_at from messages where account_id = 'second' and message_id = 'wamid.A'",
    );
    expect(answered.rows).toEqual([{ answered_at: new Date("2025-03-03T10:00:09Z") }]);
  });

  it("is asked for by the fold, reads what it has marked, and finds nothing the second time", async () => {
    const { enqueued } = await seed("a");
    expect(enqueued).toEqual([
      { kind: "conversations.rebuild", payload: { accountId: "a" }, options: { delayMs: 1_000 } },
    ]);
    expect(await count("conversation_marks", "a")).toBe(CHATS);
    expect(await rebuild("a")).toEqual({
      result: { stretches: CHATS, messages: 3 * CHATS, conversations: CHATS },
      enqueued: [],
    });
    expect(await count("conversations", "a")).toBe(CHATS);
    await expectSound("a");
    const built = await state("a");
    expect((await rebuild("a")).result).toEqual({ stretches: 0, messages: 0, conversations: 0 });
    expect(await state("a")).toEqual(built);
  });

  it("goes on where it was stopped between batches", async () => {
    await seed("b");
    const stop = new AbortController();
    const reason = new Error("stop");
    let looks = 0;
    // The clock is looked at when it begins and after each batch.
    const now = () => {
      if (++looks === 2) stop.abort(reason);
      return new Date(0);
    };
    await expect(rebuild("b", { signal: stop.signal, now })).rejects.toBe(reason);
    const built = await count("conversations", "b");
    expect(built).toBeGreaterThan(0);
    expect(await count("conversation_marks", "b")).toBe(CHATS - built);
    expect((await rebuild("b")).result).toMatchObject({ stretches: CHATS - built });
    expect(await count("conversations", "b")).toBe(CHATS);
    await expectSound("b");
  });

  it("makes room for others after its turn and asks to come back", async () => {
    await seed("c");
    let time = 0;
    const now = () => {
      time += 25_000;
      return new Date(time);
    };
    const { result, enqueued } = await rebuild("c", { now });
    expect(result).toMatchObject({ unfinished: true });
    expect(result.stretches).toBeLessThan(CHATS);
    expect(enqueued).toEqual([
      { kind: "conversations.rebuild", payload: { accountId: "c" }, options: undefined },
    ]);
    await rebuild("c");
    expect(await count("conversations", "c")).toBe(CHATS);
  });

  it("reads all chats anew when the account's settings have changed", async () => {
    await seed("d", 20);
    await rebuild("d");
    const built = await state("d");
    const change = (hours: number | null) =>
      updateAccount(test.db, "d", { settings: { session_gap_hours: hours } }, defaultSettings);
    const whole = { stretches: 20, messages: 60 };
    // A gap of an hour is none yet: only longer ones end a conversation.
    await change(1);
    expect((await rebuild("d")).result).toEqual({ ...whole, conversations: 0 });
    const { conversations_version, settings_version } = (await findConfiguredAccount(test.db, "d"))!;
    expect([conversations_version, settings_version]).toEqual([2, 2]);
    await storeEvents(
      test,
      [0, 1].map((index) =>
        newEvent("d", `late${index}`, "received", "2025-03-01T12:30:00Z", {
          chatId: `chat${index}`,
          channelId: "c1",
        }),
      ),
    );
    await test.work(foldEvents, { accountId: "d" });
    await rebuild("d");
    expect(await count("conversations", "d")).toBe(22);
    await change(null);
    expect((await rebuild("d")).result).toEqual({ ...whole, messages: 62, conversations: 2 });
    expect(await count("conversations", "d")).toBe(20);
    await expectSound("d");
    expect((await state("d"))[0]).not.toEqual(built[0]);
  });

  it("knows the agent who answered, whether or not an origin is named", async () => {
    const facts = { chatId: "chat", channelId: "c1" };
    await storeEvents(test, [
      newEvent("agents", "q", "received", "2025-03-01T09:00:00Z", facts),
      newEvent("agents", "a", "sent", "2025-03-01T10:00:00Z", { ...facts, agentId: "ann" }),
      // Says less, and later: what is known stays.
      newEvent("agents", "a", "delivered", "2025-03-01T10:00:01Z", facts),
    ]);
    await test.work(foldEvents, { accountId: "agents" });
    await rebuild("agents");
    const { rows } = await test.pool.query(
      "select agent_id, lens from conversation_turns where account_id = 'agents'",
    );
    expect(rows).toEqual([{ agent_id: "ann", lens: 3 }]);
    const asked = query("agents", {
      from: new Date("2025-03-01T00:00:00Z"),
      to: new Date("2025-03-02T00:00:00Z"),
      metrics: ["turns_answered"],
      groupBy: ["agent_id"],
    });
    expect((await readMetrics(test.db, planMetrics(asked))).totals).toEqual([
      { agent_id: "ann", turns_answered: 1 },
    ]);
  });

  it("leaves a conversation that lies across the floor of messages as it is, and reads what comes after it", async () => {
    const facts = { chatId: "chat", channelId: "c1", contentKind: "text" };
    const say = (id: string, type: string, day: number, time: string) =>
      newEvent("kept", id, type, `2025-03-${String(day).padStart(2, "0")}T${time}:00Z`, facts);
    await storeEvents(test, [
      ...[
        say("q", "received", 9, "23:00"),
        say("a", "sent", 10, "01:00"),
        say("a", "delivered", 10, "01:00"),
      ],
      ...[
        say("m", "sent", 10, "02:00"),
        say("m", "delivered", 10, "02:00"),
        say("r", "received", 10, "02:30"),
      ],
      ...[say("q2", "received", 15, "09:00"), say("a2", "sent", 15, "11:00")],
    ]);
    await test.work(foldEvents, { accountId: "kept" });
    await rebuild("kept");
    await changeRetention(test.db, "kept", { events_days: 1, messages_days: 31 }, () => {});
    await test.work(applyRetention, { accountId: "kept" }, { now: () => new Date("2025-04-10T12:00:00Z") });
    expect(await count("messages", "kept")).toBe(5);

    const rows = async (table: string, order: string) =>
      (await test.pool.query(`select * from ${table} where account_id = 'kept' order by ${order}`)).rows;
    const conversations = () => rows("conversations", "started_at");
    const turns = () => rows("conversation_turns", "started_at, lens");
    const answers = async () =>
      Object.fromEntries(
        (await rows("messages", "message_id")).map((row) => [row.message_id, row.answered_at]),
      );
    const totals = async () => {
      const asked = query("kept", {
        from: new Date("2025-03-01T00:00:00Z"),
        to: new Date("2025-04-01T00:00:00Z"),
        metrics: [
          "conversations_answered",
          "conversations_abandoned",
          "turns",
          "turns_answered",
          "messages_replied",
        ],
      });
      return (await readMetrics(test.db, planMetrics(asked))).totals;
    };
    const before = {
      ...{ conversations: await conversations(), turns: await turns() },
      ...{
        answers: await answers(),
        totals: await totals(),
        steps: await rows("flow_edges", "day, edge_id"),
      },
    };
    expect(before.conversations).toHaveLength(2);
    expect(before.totals).toEqual([
      {
        ...{ conversations_answered: 1, conversations_abandoned: 1, turns: 3, turns_answered: 2 },
        messages_replied: 1,
      },
    ]);
    const settled = (settings: SettingsChanges) =>
      updateAccount(test.db, "kept", { settings }, defaultSettings).then(() => rebuild("kept"));
    await settled({ session_gap_hours: 1, reply_window_hours: 2 });
    expect(await totals()).toEqual([
      // The second conversation is two by now.
      {
        ...{ conversations_answered: 0, conversations_abandoned: 1, turns: 3, turns_answered: 1 },
        messages_replied: 1,
      },
    ]);
    await settled({ session_gap_hours: null, reply_window_hours: null });
    expect({
      ...{ conversations: await conversations(), turns: await turns() },
      ...{
        answers: await answers(),
        totals: await totals(),
        steps: await rows("flow_edges", "day, edge_id"),
      },
    }).toEqual(before);
    await expectSound("kept");

    // One that would have lengthened it, and one that would have been in it; what that answers is answered.
    await storeEvents(test, [say("late", "received", 10, "03:00"), say("later", "received", 10, "01:30")]);
    await test.work(foldEvents, { accountId: "kept" });
    await rebuild("kept");
    expect(
      (await conversations()).map((row) => [row.started_at.toISOString().slice(8, 16), row.inbound]),
    ).toEqual([
      ["09T23:00", 2],
      ["10T03:00", 1],
      ["15T09:00", 1],
    ]);
    expect((await conversations())[0]).toEqual(before.conversations[0]);
    expect(await answers()).toMatchObject({
      ...{ a: new Date("2025-03-10T01:30:00Z"), m: new Date("2025-03-10T02:30:00Z") },
    });
    await settled({ sla_seconds: 60 });
    expect(await conversations()).toHaveLength(3);
    await expectSound("kept");
  });

  it("of an account that is not there does nothing", async () => {
    expect((await rebuild("nobody")).result).toEqual({ stretches: 0, messages: 0, conversations: 0 });
  });
});
