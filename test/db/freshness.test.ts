import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultSettings, type SettingsChanges } from "../../src/analytics/account-settings.js";
import { metrics } from "../../src/analytics/catalog.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { markAllConversations } from "../../src/db/conversations/marks.js";
import { rebuildConversations } from "../../src/db/conversations/rebuild.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { ensureAccounts, findConfiguredAccount, updateAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { buildWantedZone } from "../../src/db/rollups/zones.js";
import { rulesOf } from "../../src/jobs/rebuild-conversations.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { query } from "../support/metrics-cells.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

let made = 0;
const newAccount = async () => {
  const accountId = `account-${++made}`;
  await ensureAccounts(test.db, [accountId]);
  return accountId;
};
const clock = async () =>
  (await test.pool.query<{ now: Date }>("select clock_timestamp() as now")).rows[0]!.now.getTime();
const asOf = async (accountId: string, ...ids: string[]) =>
  Date.parse((await readMetrics(test.db, planMetrics(query(accountId, { metrics: ids })))).as_of);
/** Whether an answer with these metrics says that nothing waits. */
const isNow = async (accountId: string, ...ids: string[]) => {
  const before = await clock();
  return (await asOf(accountId, ...ids)) >= before;
};
/** A transaction of another test holds the watermark back for as long as it runs. */
const foldToTheEnd = async (accountId: string) => {
  const folded = async () => {
    await foldBatch(test.db, accountId, { limit: 1_000 });
    return isNow(accountId, "messages_sent");
  };
  await expect.poll(folded, { timeout: 30_000 }).toBe(true);
};
const NEVER = new AbortController().signal;
const change = (accountId: string, settings: SettingsChanges) =>
  updateAccount(test.db, accountId, { settings }, defaultSettings);
const markAll = async (accountId: string) =>
  markAllConversations(
    test.db,
    accountId,
    (await findConfiguredAccount(test.db, accountId))!.settings_version,
    NEVER,
  );
const rebuild = async (accountId: string) =>
  rebuildConversations(test.db, accountId, rulesOf((await findConfiguredAccount(test.db, accountId))!), {
    limit: 100,
  });

/** An offer that the customer answers without naming it. */
const history: EventJson[] = [
  { type: "message.sent" as const, message_id: "m1", occurred_at: "2025-04-01T10:00:00Z" },
  { type: "message.delivered" as const, message_id: "m1", occurred_at: "2025-04-01T10:00:01Z" },
  { type: "message.received" as const, message_id: "m2", occurred_at: "2025-04-01T10:01:00Z" },
].map((event) => ({ account_id: "a", chat_id: "chat", ...event }));

/** What is counted of messages but depends on their chats. */
const ofChats = ["messages_replied", "messages_engaged", "reply_rate", "engagement_rate"];
/** Others, of each kind. */
const ofMessages = [
  "messages_sent",
  "messages_clicked",
  "click_rate",
  "messages_reacted",
  "time_to_deliver_p50",
];

describe("as_of", () => {
  it("counts chats that wait to be read, for every metric that depends on them and no other", async () => {
    const accountId = await newAccount();
    await storeEvents(test.db, accountId, history);
    const stored = await clock();
    await foldToTheEnd(accountId);
    const conversations = metrics.filter(({ rollup }) => rollup === "conversations").map(({ id }) => id);
    for (const id of [...ofChats, ...conversations])
      expect([id, (await asOf(accountId, id)) < stored]).toEqual([id, true]);
    expect(await isNow(accountId, ...ofMessages)).toBe(true);
    expect(await asOf(accountId, ...ofMessages, "reply_rate")).toBeLessThan(stored);
    await rebuild(accountId);
    expect(await isNow(accountId, ...ofChats, "conversations")).toBe(true);
    const { totals } = await readMetrics(test.db, planMetrics(query(accountId, { metrics: ofChats })));
    expect(totals).toEqual([{ messages_replied: 1, messages_engaged: 1, reply_rate: 1, engagement_rate: 1 }]);
  });

  it("is at most the time of a change of settings until all chats have been read by them", async () => {
    const accountId = await newAccount();
    await storeEvents(test.db, accountId, history);
    await foldToTheEnd(accountId);
    await rebuild(accountId);
    expect(await isNow(accountId, "sla_rate")).toBe(true);
    const before = await clock();
    await change(accountId, { sla_seconds: 60 });
    const changed = await clock();
    const expectTheChange = async () => {
      for (const id of ["sla_rate", "reply_rate"]) {
        expect(await asOf(accountId, id)).toBeGreaterThanOrEqual(before);
        expect(await asOf(accountId, id)).toBeLessThanOrEqual(changed);
      }
      expect(await isNow(accountId, ...ofMessages)).toBe(true);
    };
    await expectTheChange();
    // Of two that nobody has read chats by, the first; and no change at all.
    await change(accountId, { sla_seconds: 120 });
    await expectTheChange();
    await change(accountId, { sla_seconds: 120 });
    await markAll(accountId);
    await expectTheChange();
    await rebuild(accountId);
    expect(await isNow(accountId, "sla_rate", "reply_rate")).toBe(true);
  });

  it("does not forget what a chat had missed before all were marked, or misses since", async () => {
    const accountId = await newAccount();
    await storeEvents(test.db, accountId, history);
    const stored = await clock();
    await foldToTheEnd(accountId);
    await change(accountId, { sla_seconds: 60 });
    await markAll(accountId);
    expect(await asOf(accountId, "conversations")).toBeLessThan(stored);
    await rebuild(accountId);
    await change(accountId, { sla_seconds: 120 });
    await markAll(accountId);
    // As if folds had last caught up before the change.
    const parameters = [accountId, new Date(stored)];
    await test.pool.query("update fold_watermarks set folded_at = $2 where account_id = $1", parameters);
    await storeEvents(test.db, accountId, [
      { ...history[2]!, message_id: "m3", occurred_at: "2025-04-01T10:05:00Z" },
    ]);
    await foldToTheEnd(accountId);
    expect(await asOf(accountId, "conversations")).toBe(stored);
  });

  it("is at most the time at which business hours became those of another zone", async () => {
    const accountId = await newAccount();
    await storeEvents(test.db, accountId, history);
    await foldToTheEnd(accountId);
    await change(accountId, {
      calendar: { weekly: { tuesday: [["09:00", "17:00"]] }, holidays: [], open: [] },
    });
    await markAll(accountId);
    await rebuild(accountId);
    expect(await isNow(accountId, "sla_rate")).toBe(true);
    await updateAccount(test.db, accountId, { timeZone: "Asia/Tokyo" }, defaultSettings);
    const before = await clock();
    await buildWantedZone(test.db, accountId, NEVER);
    const switched = await clock();
    expect(await asOf(accountId, "sla_rate")).toBeGreaterThanOrEqual(before);
    expect(await asOf(accountId, "sla_rate")).toBeLessThanOrEqual(switched);
  });
});
