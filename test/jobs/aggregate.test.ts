import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requestCancel } from "../../src/db/queries/runs.js";
import { measureDrift, repairDrift } from "../../src/db/rollups/drift.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { aggregate } from "../../src/jobs/aggregate.js";
import { rebuildConversationsJob } from "../../src/jobs/rebuild-conversations.js";
import { rollupRows } from "../support/rollup-rows.js";
import {
  foldAll,
  newEvent,
  openWork,
  seedMessages,
  seedRange,
  storeEvents,
  type TestWork,
  testSettings,
} from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const rollups = (accountId: string) => rollupRows(test.pool, accountId);

async function run(accountId: string, params: Record<string, unknown>) {
  const key = await test.insertRun("aggregation", accountId, params);
  await test.work(aggregate, key);
  const first = await test.run(key);
  expect(first).toMatchObject({ status: "succeeded", artifact: null });
  expect((await test.work(aggregate, key)).result).toEqual({ skipped: "nothing to do" });
  expect(await test.run(key)).toEqual(first);
  return first.result;
}

describe("an aggregation", () => {
  it("finds and repairs what differs from the messages", async () => {
    const messages = await seedMessages(test, "shop");
    const sound = await rollups("shop");
    expect(sound.length).toBeGreaterThan(3);
    expect(await run("shop", { action: "verify" })).toEqual({
      messages,
      drifted_rows: 0,
      drifted_conversations: 0,
      repaired_rows: 0,
    });
    const broken =
      "(select ctid from rollups where account_id = 'shop' and cohort_sent > 0 order by bucket limit 1)";
    await test.pool.query(`update rollups set cohort_sent = cohort_sent + 3 where ctid = ${broken}`);
    const lost = "(select ctid from rollups where account_id = 'shop' order by bucket desc limit 1)";
    await test.pool.query(`delete from rollups where ctid = ${lost}`);
    expect(await run("shop", { action: "verify" })).toEqual({
      messages,
      drifted_rows: 2,
      drifted_conversations: 0,
      repaired_rows: 0,
    });
    expect(await run("shop", { action: "recompute" })).toEqual({
      messages,
      drifted_rows: 2,
      drifted_conversations: 0,
      repaired_rows: 2,
    });
    expect(await rollups("shop")).toEqual(sound);
    expect(await run("shop", { action: "recompute" })).toMatchObject({ drifted_rows: 0, repaired_rows: 0 });
  });

  it("keeps to its range and its account", async () => {
    await seedMessages(test, "a");
    await seedMessages(test, "b");
    await test.pool.query(
      "update rollups set attempted = coalesce(attempted, 0) + 1 where account_id in ('a', 'b')",
    );
    const { rows } = await test.pool.query<{ day: string; rows: number }>(
      "select to_char(bucket, 'DD') as day, count(*)::integer as rows from rollups where account_id = 'a' group by 1 order by 1",
    );
    const ofDay = (day: string) => rows.find((row) => row.day === day)!.rows;
    const second = { from: "2025-03-02T00:00:00Z", to: "2025-03-03T00:00:00Z" };
    expect(await run("a", { action: "recompute", ...second })).toMatchObject({ repaired_rows: ofDay("02") });
    expect(await run("a", { action: "verify" })).toMatchObject({ drifted_rows: ofDay("01") + ofDay("03") });
    expect(await run("b", { action: "verify" })).toMatchObject({
      drifted_rows: rows.reduce((sum, row) => sum + row.rows, 0),
    });
  });

  it("folds all events again, whatever the watermark says", async () => {
    const messages = await seedMessages(test, "again");
    const before = await rollups("again");
    await test.pool.query("delete from messages where account_id = 'again' and message_id in ('m1', 'm2')");
    await run("again", { action: "recompute" });
    expect(await run("again", { action: "verify" })).toMatchObject({ messages: messages - 2 });
    const { rows } = await test.pool.query(
      "select count(*) as events from message_events where account_id = 'again'",
    );
    const events = rows[0].events as number;
    const key = await test.insertRun("aggregation", "again", { action: "backfill" });
    const settings = { ...testSettings, foldBatchSize: 4, artifactRetentionMs: 1 };
    await test.work(aggregate, key, { settings });
    expect(await test.run(key)).toMatchObject({
      status: "succeeded",
      result: { events, events_gone_before: null },
      progress_total_rows: events,
    });
    await settleRollups(test.db, "again");
    expect(await rollups("again")).toEqual(before);
    expect(await run("again", { action: "verify" })).toMatchObject({ messages, drifted_rows: 0 });
    await expect(run("again", { action: "backfill", from: seedRange.from })).rejects.toThrow("backfill");
  });

  it("finds and repairs conversations, flows and answers that are not those of the messages", async () => {
    const facts = { chatId: "ann", contactId: "ann", channelId: "c" };
    const at = (day: number, minute: number) => new Date(Date.UTC(2025, 2, day, 9, minute)).toISOString();
    await storeEvents(
      test,
      [1, 8].flatMap((day) => [
        newEvent("chats", `out${day}`, "sent", at(day, 0), facts),
        newEvent("chats", `in${day}`, "received", at(day, 1), facts),
      ]),
    );
    await foldAll(test, "chats");
    await test.work(rebuildConversationsJob, { accountId: "chats" });
    const stored = async () =>
      (
        await test.pool.query(
          `select started_at, steps::text as made, inbound as n from conversations where account_id = 'chats'
           union all select started_at, answered_at::text, slot from conversation_turns where account_id = 'chats'
           union all select day, edge_id::text, conversations from flow_edges where account_id = 'chats'
           union all select anchor_at, answered_at::text, 0 from messages where account_id = 'chats'
           order by 1, 2, 3`,
        )
      ).rows;
    const sound = await stored();
    expect(await run("chats", { action: "verify" })).toMatchObject({ drifted_rows: 0 });
    await test.pool.query("update conversations set inbound = 5 where account_id = 'chats'");
    await test.pool.query("delete from conversation_turns where account_id = 'chats'");
    await test.pool.query("update messages set answered_at = null where account_id = 'chats'");
    await test.pool.query("update flow_edges set conversations = 9 where account_id = 'chats'");
    // A conversation, a turn and an answer of each day.
    const all = await run("chats", { action: "verify" });
    expect(all).toMatchObject({ drifted_conversations: 6, repaired_rows: 0 });
    const second = { from: "2025-03-08T00:00:00Z", to: "2025-03-09T00:00:00Z" };
    expect(await run("chats", { action: "recompute", ...second })).toMatchObject({
      drifted_conversations: 3,
    });
    expect(await stored()).not.toEqual(sound);
    const rest = await run("chats", { action: "recompute" });
    expect(rest).toMatchObject({ repaired_rows: rest!.drifted_rows });
    expect(rest!.drifted_rows).toBeGreaterThan(3);
    expect(await stored()).toEqual(sound);
    expect(await run("chats", { action: "verify" })).toMatchObject({ drifted_rows: 0 });
  });

  it("reads messages in ranges and counts them", async () => {
    const steps: [number, number][] = [];
    const sent = (index: number) => newEvent("many", `m${index}`, "sent", "2025-03-01T09:00:00Z");
    await storeEvents(
      test,
      Array.from({ length: 12_000 }, (_, index) => sent(index)),
    );
    await foldAll(test, "many");
    const spoil = "update rollups set cohort_sent = cohort_sent - 1 where account_id = 'many'";
    await test.pool.query(spoil);
    const drift = await repairDrift(test.db, "many", {}, undefined, (...step) => steps.push(step));
    expect(drift).toEqual({ messages: 12_000, rows: 1 });
    expect(steps).toEqual([0, 5_000, 10_000, 12_000].map((done) => [done, 12_000]));
    expect(await measureDrift(test.db, "many")).toEqual({ messages: 12_000, rows: 0 });
  });

  it("is cancelled while it waits for another repair of the account, and waits no longer", async () => {
    await seedMessages(test, "busy");
    const holder = await test.pool.connect();
    await holder.query("select pg_advisory_lock(hashtextextended('repair busy', 0))");
    const key = await test.insertRun("aggregation", "busy", { action: "recompute" });
    const running = test.work(aggregate, key);
    const waiting = async () =>
      (await test.pool.query("select 1 from pg_locks where locktype = 'advisory' and not granted")).rowCount;
    await expect.poll(waiting, { timeout: 10_000 }).toBe(1);
    await requestCancel(test.db, key.accountId, key.runId);
    await running;
    expect(await test.run(key)).toMatchObject({ status: "cancelled" });
    expect(await waiting()).toBe(0);
    await holder.query("select pg_advisory_unlock_all()");
    holder.release();
  });
});
