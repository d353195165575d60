import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { StoredSettings } from "../../src/analytics/account-settings.js";
import { defaultRetention } from "../../src/analytics/retention.js";
import {
  measureConversationDrift,
  repairConversationDrift,
} from "../../src/db/conversations/conversation-drift.js";
import { rebuildConversations } from "../../src/db/conversations/rebuild.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { createAccount, findConfiguredAccount } from "../../src/db/queries/accounts.js";
import { retainAccount } from "../../src/db/retention/retain-account.js";
import { measureEverything, repairEverything } from "../../src/db/rollups/everything.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { rulesOf } from "../../src/jobs/rebuild-conversations.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { casesOf, isThorough } from "../support/cases.js";
import { conversationHistories } from "../support/conversation-histories.js";
import { shuffleSplitDuplicate } from "../support/event-histories.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

const CASES = casesOf("CONVERSATION", { few: 8, many: 25 });
const NEVER = new AbortController().signal;

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

async function fold(accountId: string): Promise<void> {
  let after: Awaited<ReturnType<typeof foldBatch>>["position"];
  for (;;) {
    const batch = await foldBatch(test.db, accountId, { after, limit: 50 });
    if (batch.caughtUp) return;
    after = batch.position;
  }
}

async function rebuild(accountId: string, limit: number, rounds = Number.POSITIVE_INFINITY): Promise<void> {
  const account = (await findConfiguredAccount(test.db, accountId))!;
  for (let round = 0; round < rounds; round++)
    if ((await rebuildConversations(test.db, accountId, rulesOf(account), { limit })).stretches === 0) return;
}

const written = ["conversations", "conversation_turns", "flow_edges"];
const summed = ["conversation_rollups", "daily_conversation_rollups", "rollups", "daily_rollups"];

async function digest(accountId: string): Promise<string> {
  await settleRollups(test.db, accountId);
  const parts = [...written, ...summed].map((table) => {
    // Which bin stands first is nobody's business.
    const row = summed.includes(table)
      ? "to_jsonb(r) - 'bins' - 'counts' || jsonb_build_object('n', (select jsonb_object_agg(b, c order by b) from unnest(bins, counts) x(b, c)))"
      : "to_jsonb(r)";
    return `select '${table}' || (${row})::text as r from ${table} r where account_id = $1`;
  });
  const answers =
    "select 'answered' || message_id || coalesce(answered_at::text, '-') from messages where account_id = $1";
  const { rows } = await test.pool.query<{ r: string }>([...parts, answers].join(" union all "), [accountId]);
  return rows
    .map(({ r }) => r)
    .sort()
    .join("\n");
}

/** One row of a table, another for every seed. */
const one = (table: string, seed: number, where = "true") =>
  `ctid = (select ctid from ${table} r where account_id = $1 and ${where} order by md5(r::text || '${seed}') limit 1)`;
const STRANGER = "'00000000-0000-4000-8000-0000000000aa'";
/** To remove what another harm has added would put it right. */
const OWN = `chat_key <> ${STRANGER}`;
const chat = `(select chat_key from conversations where account_id = $1 and ${OWN} order by chat_key limit 1)`;

/** Whatever may be wrong with what is made of messages. */
const harms: Record<string, (seed: number) => string> = {
  lost: (seed) => `delete from conversations where ${one("conversations", seed, OWN)}`,
  "all lost": () => "delete from conversations where account_id = $1",
  "turn lost": (seed) => `delete from conversation_turns where ${one("conversation_turns", seed, OWN)}`,
  "all turns lost": () => "delete from conversation_turns where account_id = $1",
  "chat lost": () => `delete from conversations where account_id = $1 and chat_key = ${chat}`,
  counted: (seed) => `update conversations set inbound = inbound + 1 where ${one("conversations", seed)}`,
  "ends later": (seed) =>
    `update conversations set ended_at = ended_at + interval '40 days' where ${one("conversations", seed)}`,
  "begins earlier": (seed) =>
    `update conversations set started_at = started_at - interval '7 minutes' where ${one("conversations", seed)}`,
  "other chat": (seed) => `update conversations set chat_id = 'zoe' where ${one("conversations", seed)}`,
  steps: (seed) => `update conversations set steps = steps || '{in:x}' where ${one("conversations", seed)}`,
  answered: (seed) =>
    `update conversation_turns set answered_at = last_at + interval '3 days' where ${one("conversation_turns", seed)}`,
  stranger: (seed) =>
    `insert into conversations select (c).* from (select jsonb_populate_record(r, jsonb_build_object('chat_key', ${STRANGER}, 'chat_id', 'zoe')) as c
     from conversations r where ${one("conversations", seed)}) x`,
  "turn of nobody": (seed) =>
    `insert into conversation_turns select (c).* from (select jsonb_populate_record(r, jsonb_build_object('chat_key', ${STRANGER})) as c
     from conversation_turns r where ${one("conversation_turns", seed)}) x`,
  "not answered": () =>
    "update messages set answered_at = null where account_id = $1 and answered_at is not null",
  "other answer": (seed) =>
    `update messages set answered_at = anchor_at + interval '300 days' where ${one("messages", seed, "answered_at is not null")} and account_id = $1`,
  "more ways": (seed) =>
    `update flow_edges set conversations = conversations + 7 where ${one("flow_edges", seed)}`,
  "way lost": (seed) => `delete from flow_edges where ${one("flow_edges", seed)}`,
};

const cases = conversationHistories("a").chain((history) =>
  fc.record({
    batches: shuffleSplitDuplicate(history),
    limit: fc.constantFrom(1, 2, 500),
    chunkRows: fc.constantFrom(1, 3, 5_000),
    harmed: fc.uniqueArray(fc.constantFrom(...Object.keys(harms)), { minLength: 1, maxLength: 3 }),
    seed: fc.nat(1_000),
    settings: fc.record({
      session_gap_hours: fc.constantFrom(1, 3, 24),
      reply_window_hours: fc.constantFrom(1, 5, 48),
    }),
  }),
);

let made = 0;

it("tells whatever is not what the messages say, never what waits, and puts it right", {
  timeout: 1_800_000,
}, async () => {
  let harmedRows = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ({ batches, limit, chunkRows, harmed, seed, settings }) => {
      const accountId = `drift-${++made}`;
      await createAccount(test.db, {
        accountId,
        name: null,
        timeZone: "Europe/Berlin",
        settings: settings as StoredSettings,
      });
      const scope = { rulesOf, chunkRows };
      const expectReadRight = async () =>
        expect(await measureConversationDrift(test.db, accountId, scope, NEVER)).toEqual({ rows: 0 });
      const expectSound = async () =>
        expect(await measureEverything(test.db, accountId, scope, NEVER)).toMatchObject({ rows: 0 });
      for (const batch of batches) {
        await storeEvents(test.db, accountId, batch);
        await fold(accountId);
        // Some marks wait, and are no difference.
        await expectReadRight();
        await rebuild(accountId, limit, 1);
        await expectReadRight();
      }
      await rebuild(accountId, limit);
      await expectSound();
      const sound = await digest(accountId);
      for (const name of harmed) {
        const { rowCount } = await test.pool.query(harms[name]!(seed), [accountId]);
        harmedRows += rowCount ?? 0;
        const drift = await measureEverything(test.db, accountId, scope, NEVER);
        if (rowCount) expect(drift.rows).toBeGreaterThan(0);
      }
      const told = await measureEverything(test.db, accountId, scope, NEVER);
      const repaired = await repairEverything(test.db, accountId, scope, NEVER);
      expect(repaired.conversations).toBe(told.conversations);
      await expectSound();
      expect(await digest(accountId)).toBe(sound);
      // Nothing is written where nothing differs.
      expect(await repairConversationDrift(test.db, accountId, scope, NEVER)).toEqual({ rows: 0 });
    }),
    { numRuns: CASES, endOnFailure: true },
  );
  // Otherwise there was hardly anything to harm.
  expect(harmedRows).toBeGreaterThan(isThorough ? CASES / 5 : 0);
});

it("finds nothing, and spoils nothing, while messages come, chats are read and both are removed", {
  timeout: 120_000,
}, async () => {
  const accountId = "busy";
  await createAccount(test.db, { accountId, name: null, timeZone: "Europe/Berlin" });
  const first = Date.parse("2025-03-10T00:00:00Z");
  const sent = Array.from(
    { length: 240 },
    (_, n): EventJson => ({
      account_id: accountId,
      message_id: `m${n}`,
      type: n % 3 === 0 ? "message.sent" : "message.received",
      chat_id: `chat${n % 5}`,
      contact_id: `chat${n % 5}`,
      channel_id: "c1",
      // Not in the order of time, a day apart at times.
      occurred_at: new Date(first + ((n * 7_919) % 240) * 5_400_000).toISOString(),
    }),
  );
  let isDone = false;
  const working = (async () => {
    for (let n = 0; n < sent.length; n += 8) {
      const { messages_from: floor } = (await findConfiguredAccount(test.db, accountId))!;
      const isKept = ({ occurred_at }: EventJson) => !floor || Date.parse(occurred_at) >= floor.getTime();
      await storeEvents(test.db, accountId, sent.slice(n, n + 8).filter(isKept));
      await fold(accountId);
      await rebuild(accountId, 2, 3);
      if (n % 80 === 72)
        await retainAccount(test.db, accountId, {
          retention: { ...defaultRetention, events_days: 1, messages_days: 31 },
          now: new Date(first + (31 + n / 80) * 86_400_000),
          signal: NEVER,
          hasTime: () => true,
          leaveMonthsToPartitions: false,
          chunkRows: 5,
          rules: rulesOf((await findConfiguredAccount(test.db, accountId))!),
        });
    }
    isDone = true;
  })();
  const scope = { rulesOf, chunkRows: 7 };
  let looked = 0;
  for (; !isDone; looked++) {
    const work = looked % 2 === 0 ? measureConversationDrift : repairConversationDrift;
    expect(await work(test.db, accountId, scope, NEVER)).toEqual({ rows: 0 });
  }
  await working;
  expect(looked).toBeGreaterThan(5);
  await rebuild(accountId, 500);
  expect(await measureEverything(test.db, accountId, scope, NEVER)).toMatchObject({ rows: 0 });
});
