import fc from "fast-check";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, it } from "vitest";
import { defaultSettings, type StoredSettings } from "../../src/analytics/account-settings.js";
import { metrics } from "../../src/analytics/catalog.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { markAllConversations } from "../../src/db/conversations/marks.js";
import { rebuildConversations } from "../../src/db/conversations/rebuild.js";
import {
  createAccount,
  findConfiguredAccount,
  queriedAccount,
  updateAccount,
} from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureEverything } from "../../src/db/rollups/everything.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { buildWantedZone } from "../../src/db/rollups/zones.js";
import { rulesOf } from "../../src/jobs/rebuild-conversations.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { casesOf } from "../support/cases.js";
import { conversationHistories } from "../support/conversation-histories.js";
import { shuffleSplitDuplicate } from "../support/event-histories.js";
import { foldPieces } from "../support/folded.js";
import { expectRows, oracleQuery, query } from "../support/metrics-cells.js";
import { oracleMetrics } from "../support/oracle.js";
import { oracleConversations } from "../support/oracle-conversations.js";
import { oracleFlow } from "../support/oracle-flows.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { type Moment, retainToTheEnd } from "../support/retained.js";
import { storeEvents } from "../support/stored-events.js";

const CASES = casesOf("RETENTION", { few: 12, many: 40 });
const ZONE = "Europe/Berlin";
const NEVER = new AbortController().signal;

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const settings = { session_gap_hours: 3, reply_window_hours: 5, sla_seconds: 3_600 };
const rules = { gapMs: 3 * 3_600_000, replyWindowMs: 5 * 3_600_000, slaMs: 3_600_000, calendar: undefined };

/** Floors before, in and after the history; retention dies after so many chunks at first. */
const moments = fc.record({
  floor: fc.constantFrom("2025-03-29", "2025-03-30", "2025-03-31", "2025-04-01", "2025-04-02", "2025-04-10"),
  killedAfter: fc.option(fc.nat(20)),
  chunkRows: fc.constantFrom(1, 3, 1_000),
  quartersDays: fc.constantFrom(1, 30, 200),
  rebuilds: fc.boolean(),
  settles: fc.boolean(),
});

const cases = conversationHistories("a").chain((history) =>
  fc.record({
    history: fc.constant(history),
    batches: shuffleSplitDuplicate(history),
    retained: fc.tuple(moments, moments),
    otherZone: fc.constantFrom("Asia/Tokyo", "America/New_York"),
  }),
);

const fold = (accountId: string) => foldPieces(test.db, accountId, 50);

const configured = async (accountId: string) => (await findConfiguredAccount(test.db, accountId))!;

async function rebuild(accountId: string): Promise<void> {
  const account = await configured(accountId);
  while ((await rebuildConversations(test.db, accountId, rulesOf(account), { limit: 50 })).stretches > 0);
}

const expectSound = async (accountId: string) =>
  expect(await measureEverything(test.db, accountId, { rulesOf }, NEVER)).toMatchObject({ rows: 0 });

const retain = async (accountId: string, moment: Moment) =>
  retainToTheEnd(test.db, accountId, moment, () => expectSound(accountId), {
    rules: rulesOf(await configured(accountId)),
  });

const choices = { responders: "human", clock: "first", hours: "elapsed" } as const;
const ids = metrics.filter(({ rollup }) => rollup === "conversations").map(({ id }) => id);

async function asked(accountId: string) {
  const account = queriedAccount(await configured(accountId));
  return query(accountId, {
    kept: account.kept,
    from: new Date("2025-03-27T23:00:00Z"),
    to: new Date("2025-04-03T22:00:00Z"),
    timeZone: ZONE,
    ...choices,
    metrics: ids.filter((id) => metrics.find((one) => one.id === id)!.dimensions.includes("channel_id")),
    groupBy: ["channel_id"],
  });
}
const answer = async (accountId: string) => {
  const { rows, totals } = await readMetrics(test.db, planMetrics(await asked(accountId)));
  return { rows, totals };
};

/** Ways of all conversations that were ever counted, by day. */
async function flow(accountId: string) {
  const { rows } = await sql<Record<string, unknown>>`
    select day::text as day, position, from_step, to_step, conversations
    from flow_edges e join accounts a using (account_id, zone_id) where account_id = ${accountId}`.execute(
    test.db,
  );
  return sorted(rows);
}
const sorted = <T>(rows: T[]) => rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
const taken = (rows: { conversations?: unknown; position?: unknown }[]) =>
  rows.reduce((sum, row) => sum + (row.position === 0 ? Number(row.conversations) : 0), 0);

async function settledTotals(accountId: string) {
  await settleRollups(test.db, accountId);
  const { rows } = await sql`
    select sum(conversations) as conversations, sum(event_any_turns_answered) as answered, sum(conversation_ms) as ms
    from daily_conversation_rollups r join accounts a using (account_id, zone_id)
    where account_id = ${accountId} and grouping = 0`.execute(test.db);
  return rows;
}

async function expectNothingOld(accountId: string): Promise<number> {
  const { rows } = await sql<{ old: number; frozen: number }>`
    select (select count(*)::integer from conversations c where c.account_id = a.account_id and ended_at < messages_from)
         + (select count(*)::integer from conversation_turns t where t.account_id = a.account_id and last_at < messages_from
              and not exists (select from conversations c where c.account_id = t.account_id and c.chat_key = t.chat_key
                                and c.started_at = t.conversation_started_at)) as old,
           (select count(*)::integer from daily_conversation_rollups_frozen f where f.account_id = a.account_id) as frozen
    from accounts a where account_id = ${accountId}`.execute(test.db);
  expect(rows[0]!.old).toBe(0);
  return rows[0]!.frozen;
}

let made = 0;

it("numbers of conversations stay whatever is removed, and whenever it is killed", {
  timeout: 1_800_000,
}, async () => {
  let frozen = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ({ batches, retained, otherZone }) => {
      const accountId = `retained-${++made}`;
      await createAccount(test.db, {
        accountId,
        name: null,
        timeZone: ZONE,
        settings: settings as StoredSettings,
      });
      const half = Math.ceil(batches.length / 2);
      const parts = [batches.slice(0, half).flat(), batches.slice(half).flat()];
      for (const [index, part] of parts.entries()) {
        const moment = retained[index]!;
        const { messages_from: floor } = await configured(accountId);
        const isKept = (event: EventJson) => !floor || Date.parse(event.occurred_at) >= floor.getTime();
        await storeEvents(test.db, accountId, part.filter(isKept));
        await fold(accountId);
        // The first time the oracle knows, whoever has read the chats by then.
        if (moment.rebuilds || index > 0) await rebuild(accountId);
        if (moment.settles) await settleRollups(test.db, accountId);
        const before = { answer: await answer(accountId), flow: await flow(accountId) };
        await retain(accountId, moment);
        if (index === 0) {
          const expected = oracleConversations(part, rules);
          const wanted = await asked(accountId);
          const numbers = oracleMetrics(part, oracleQuery(wanted, rules));
          const found = await answer(accountId);
          expectRows(found.rows, numbers.rows);
          expectRows(found.totals, numbers.totals);
          expect(await flow(accountId)).toEqual(sorted(oracleFlow(expected, ZONE)));
        } else expect({ answer: await answer(accountId), flow: await flow(accountId) }).toEqual(before);
        await expectSound(accountId);
        // Nor does it change them to read anew what is left of the chats.
        const kept = { answer: await answer(accountId), flow: await flow(accountId) };
        await markAllConversations(test.db, accountId, 1, NEVER);
        await rebuild(accountId);
        expect({ answer: await answer(accountId), flow: await flow(accountId) }).toEqual(kept);
        await expectSound(accountId);
        frozen += await expectNothingOld(accountId);
      }
      // Days of what is gone stay where they are, and nothing is lost.
      const there = await flow(accountId);
      const totals = await settledTotals(accountId);
      await updateAccount(test.db, accountId, { timeZone: otherZone }, defaultSettings);
      await buildWantedZone(test.db, accountId, NEVER);
      expect(taken(await flow(accountId))).toBe(taken(there));
      await expectSound(accountId);
      expect(await settledTotals(accountId)).toEqual(totals);
    }),
    { numRuns: CASES, endOnFailure: true },
  );
  // Otherwise nothing was ever frozen.
  expect(frozen).toBeGreaterThan(2 * CASES);
});

it("frozen rollups of conversations have the columns of those that live", async () => {
  const columns = async (table: string) =>
    (
      await sql<{ name: string }>`
        select attname || ' ' || format_type(atttypid, atttypmod) as name from pg_attribute
        where attrelid = ${table}::regclass and attnum > 0 and not attisdropped order by 1`.execute(test.db)
    ).rows;
  for (const table of ["conversation_rollups", "daily_conversation_rollups"])
    expect(await columns(`${table}_frozen`)).toEqual(await columns(table));
});
