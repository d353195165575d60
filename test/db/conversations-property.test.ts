import fc from "fast-check";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { StoredSettings } from "../../src/analytics/account-settings.js";
import { defaultSettings } from "../../src/analytics/account-settings.js";
import { findMetric, metrics } from "../../src/analytics/catalog.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { markAllConversations } from "../../src/db/conversations/marks.js";
import { createAccount, findAccount, queriedAccount, updateAccount } from "../../src/db/queries/accounts.js";
import { type MetricsResult, readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { casesOf, isThorough } from "../support/cases.js";
import { bridgedHistories, conversationDays } from "../support/conversation-histories.js";
import { shuffleSplitDuplicate } from "../support/event-histories.js";
import { foldPieces, joinedBatches, rebuildPieces } from "../support/folded.js";
import { expectRows, oracleQuery, query } from "../support/metrics-cells.js";
import { oracleMetrics } from "../support/oracle.js";
import {
  type OracleConversation,
  type OracleRules,
  oracleConversations,
} from "../support/oracle-conversations.js";
import { oracleAnswers } from "../support/oracle-engagement.js";
import { oracleFlow } from "../support/oracle-flows.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

const CASES = casesOf("CONVERSATION", { few: 30, many: 120 });
const NEVER = new AbortController().signal;
const ZONE = "Europe/Berlin";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const calendar = {
  time_zone: ZONE,
  weekly: {
    monday: [
      ["09:00", "12:30"],
      ["13:30", "17:30"],
    ],
    tuesday: [["00:00", "24:00"]],
    sunday: [["01:00", "04:00"]],
    saturday: [["22:00", "24:00"]],
  } as Record<string, [string, string][]>,
  holidays: ["2025-04-02"],
  open: [{ date: "2025-04-03", slots: [["08:00", "08:01"]] as [string, string][] }],
};

const settings = (...gapHours: number[]) =>
  fc
    .record({
      session_gap_hours: fc.constantFrom(...gapHours),
      reply_window_hours: fc.constantFrom(1, 5, 48),
      sla_seconds: fc.constantFrom(60, 3_600, 14_400),
      hasCalendar: fc.boolean(),
    })
    .map(({ hasCalendar, ...rest }) => ({ ...rest, ...(hasCalendar ? { calendar } : {}) }));
type Settings = Parameters<Parameters<ReturnType<typeof settings>["map"]>[0]>[0];

const stored = (chosen: Settings) => chosen as StoredSettings;
const rules = (chosen: Settings): OracleRules => ({
  gapMs: chosen.session_gap_hours * 3_600_000,
  replyWindowMs: chosen.reply_window_hours * 3_600_000,
  slaMs: chosen.sla_seconds * 1_000,
  calendar: chosen.calendar,
});

const cases = bridgedHistories("a").chain((history) =>
  fc.record({
    history: fc.constant(history),
    batches: shuffleSplitDuplicate(history).map((batches) => joinedBatches(6, batches)),
    // What follows each batch: nothing, a fold, a fold of a few events, a fold and some rebuilding.
    next: fc.array(fc.constantFrom("wait", "fold", "some", "rebuild", "rebuild", "rebuild"), {
      minLength: 6,
      maxLength: 6,
    }),
    // After which batches what is left is settled, so that answers come from the grains, from what waits, and from both.
    settles: fc.subarray([0, 1, 2, 3, 4, 5]),
    limit: fc.constantFrom(2, 5, 500),
    before: settings(1, 3),
    // Often a gap that is shorter, so that there is something to split.
    after: fc.option(settings(1, 1, 3, 24), { freq: 2 }),
    changeAfter: fc.nat(5),
    asked: fc.array(
      fc.record({
        basis: fc.constantFrom("cohort", "event"),
        responders: fc.constantFrom("any", "human"),
        clock: fc.constantFrom("first", "last"),
        hours: fc.constantFrom("elapsed", "business"),
        interval: fc.constantFrom("hour", "day", "month", "all"),
        timeZone: fc.constantFrom(ZONE, "America/New_York"),
        groupBy: fc.subarray(["channel_id", "started_by", "agent_id"] as const),
      }),
      { minLength: 4, maxLength: 4 },
    ),
  }),
);

const tables = [
  "conversations",
  "conversation_turns",
  "flow_edges",
  "conversation_rollups",
  "daily_conversation_rollups",
  "rollups",
  "daily_rollups",
];
/** What has been met: a property that only ever sees empty tables and lone conversations tells nothing. */
const met = { rows: new Map<string, number>(), merges: 0, splits: 0 };

/** Everything that is stored of an account, once it is settled. */
async function digest(accountId: string): Promise<string> {
  await settleRollups(test.db, accountId);
  const parts = tables.map(
    (table) => `select '${table}' as kind, r::text as r from ${table} r where account_id = $1`,
  );
  const answers =
    "select 'answers', message_id || coalesce(answered_at::text, '-') from messages where account_id = $1";
  const { rows } = await test.pool.query<{ kind: string; r: string }>(
    [...parts, answers].join(" union all "),
    [accountId],
  );
  for (const { kind } of rows) met.rows.set(kind, (met.rows.get(kind) ?? 0) + 1);
  return rows
    .map(({ kind, r }) => `${kind} ${r}`)
    .sort()
    .join("\n");
}

type Span = Pick<
  Awaited<ReturnType<typeof storedConversations>>[number],
  "chat" | "channel_id" | "started_at" | "ended_at"
>;
const overlap = (a: Span, b: Span) =>
  a.chat === b.chat &&
  a.channel_id === b.channel_id &&
  a.started_at! <= b.ended_at! &&
  b.started_at! <= a.ended_at!;
/** How many of these were several of those. */
const joining = (these: readonly Span[], those: readonly Span[]) =>
  these.filter((one) => those.filter((other) => overlap(one, other)).length > 1).length;

async function watchRebuild(accountId: string, limit: number, rounds?: number): Promise<void> {
  const before = await storedConversations(accountId);
  await rebuildPieces(test.db, accountId, limit, rounds);
  const after = await storedConversations(accountId);
  met.merges += joining(after, before);
  met.splits += joining(before, after);
}

const ms = (time: Date | null) => time?.getTime() ?? null;
const number = (value: string | null) => (value === null ? null : Number(value));
const byText = <T>(rows: T[]): T[] =>
  rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

async function storedConversations(accountId: string) {
  const { rows } = await test.pool.query("select * from conversations where account_id = $1", [accountId]);
  return byText(
    rows.map((row) => ({
      chat: row.chat_id,
      channel_id: row.channel_id,
      started_at: ms(row.started_at),
      ended_at: ms(row.ended_at),
      started_by: row.started_by,
      inbound: row.inbound,
      outbound: row.outbound,
      chat_kind: row.chat_kind,
      contact_id: row.contact_id,
      steps: row.steps,
      outcome: { any: row.any_outcome, human: row.human_outcome },
      waiting: {
        any: { elapsed: number(row.any_waiting_elapsed_ms), business: number(row.any_waiting_business_ms) },
        human: {
          elapsed: number(row.human_waiting_elapsed_ms),
          business: number(row.human_waiting_business_ms),
        },
      },
    })),
  );
}
const expectedConversations = (conversations: OracleConversation[]) =>
  byText(
    conversations.map(
      ({
        chat,
        channel_id,
        started_at,
        ended_at,
        started_by,
        inbound,
        outbound,
        chat_kind,
        contact_id,
        steps,
        outcome,
        waiting,
      }) => ({
        chat,
        channel_id,
        started_at,
        ended_at,
        started_by,
        inbound,
        outbound,
        chat_kind,
        contact_id,
        steps,
        outcome,
        waiting,
      }),
    ),
  );

async function storedTurns(accountId: string) {
  const { rows } = await test.pool.query(
    `select t.*, c.chat_id from conversation_turns t
     join conversations c on c.account_id = t.account_id and c.chat_key = t.chat_key and c.started_at = t.conversation_started_at
     where t.account_id = $1`,
    [accountId],
  );
  return byText(
    rows.flatMap((row) =>
      (["any", "human"] as const)
        .filter((_, index) => (row.lens & (index + 1)) !== 0)
        .map((lens) => ({
          chat: row.chat_id,
          channel_id: row.channel_id,
          started_by: row.started_by,
          conversation: ms(row.conversation_started_at),
          lens,
          slot: row.slot,
          started_at: ms(row.started_at),
          last_at: ms(row.last_at),
          answered_at: ms(row.answered_at),
          agent_id: row.agent_id,
          is_first: row.is_first,
          is_in_window: row.is_in_window,
          is_in_sla_elapsed: row.is_in_sla_elapsed,
          is_in_sla_business: row.is_in_sla_business,
          first_business_ms: number(row.first_business_ms),
          last_business_ms: number(row.last_business_ms),
        })),
    ),
  );
}
const expectedTurns = (conversations: OracleConversation[]) =>
  byText(
    conversations.flatMap(({ chat, channel_id, started_by, started_at, turns }) =>
      turns.map(({ lens, slot, is_first, ...turn }) => ({
        chat,
        channel_id,
        started_by,
        conversation: started_at,
        lens,
        slot,
        started_at: turn.started_at,
        last_at: turn.last_at,
        answered_at: turn.answered_at,
        agent_id: turn.agent_id,
        is_first,
        is_in_window: turn.is_in_window,
        is_in_sla_elapsed: turn.is_in_sla_elapsed,
        is_in_sla_business: turn.is_in_sla_business,
        first_business_ms: turn.first_business_ms,
        last_business_ms: turn.last_business_ms,
      })),
    ),
  );

async function storedFlow(accountId: string) {
  const { rows } = await sql`
    select day::text as day, position, from_step, to_step, conversations
    from flow_edges where account_id = ${accountId}`.execute(test.db);
  return byText(rows);
}

async function storedAnswers(accountId: string) {
  const { rows } = await test.pool.query(
    "select message_id, answered_at from messages where account_id = $1 and answered_at is not null",
    [accountId],
  );
  return byText(rows.map((row) => [row.message_id, ms(row.answered_at)]));
}

const ids = metrics.filter(({ rollup }) => rollup === "conversations").map(({ id }) => id);
const range = { from: new Date(conversationDays.from), to: new Date(conversationDays.to) };

let made = 0;

it("any order, lateness, rebuild and settings in between give the oracle's conversations and numbers", {
  timeout: 1_800_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (one) => {
      const { history, batches, next, settles, limit, before, after, changeAfter, asked } = one;
      const accountId = `property-${++made}`;
      await createAccount(test.db, { accountId, name: null, timeZone: ZONE, settings: stored(before) });
      for (const [index, batch] of batches.entries()) {
        await storeEvents(test.db, accountId, batch);
        if (next[index] !== "wait")
          await foldPieces(
            test.db,
            accountId,
            next[index] === "some" ? 3 : 1_000,
            next[index] === "some" ? 1 : 10,
          );
        if (after && changeAfter === index)
          await updateAccount(
            test.db,
            accountId,
            { settings: { calendar: null, ...stored(after) } },
            defaultSettings,
          );
        if (next[index] === "rebuild") await watchRebuild(accountId, limit, 2);
        if (settles.includes(index)) await settleRollups(test.db, accountId);
      }
      await foldPieces(test.db, accountId, 1_000);
      await watchRebuild(accountId, limit);
      const chosen = after && changeAfter < batches.length ? after : before;

      const expected = oracleConversations(history, rules(chosen));
      expect(await storedConversations(accountId)).toEqual(expectedConversations(expected));
      expect(await storedTurns(accountId)).toEqual(expectedTurns(expected));
      expect(await storedFlow(accountId)).toEqual(byText(oracleFlow(expected, ZONE)));
      const { replyWindowMs } = rules(chosen);
      expect(await storedAnswers(accountId)).toEqual(
        byText([...oracleAnswers(history, replyWindowMs)].filter(([, at]) => at !== null)),
      );

      const account = queriedAccount((await findAccount(test.db, accountId))!);
      const answers: { wanted: MetricsQuery; found: MetricsResult }[] = [];
      for (const one of asked) {
        const wanted = query(accountId, {
          ...one,
          ...range,
          kept: account.kept,
          hours: account.isAlwaysOpen ? "elapsed" : one.hours,
          metrics: ids.filter((id) => one.groupBy.every((name) => findMetric(id)!.dimensions.includes(name))),
        } as Partial<Parameters<typeof query>[1]>);
        const found = await readMetrics(test.db, planMetrics(wanted));
        const numbers = oracleMetrics(history, oracleQuery(wanted, rules(chosen)));
        expectRows(found.rows, numbers.rows);
        expectRows(found.totals, numbers.totals);
        answers.push({ wanted, found });
      }

      expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });

      const once = await digest(accountId);
      for (const { wanted, found } of answers) {
        const { rows, totals } = await readMetrics(test.db, planMetrics(wanted));
        expect([rows, totals]).toEqual([found.rows, found.totals]);
      }
      expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });
      await test.db
        .updateTable("fold_watermarks")
        .set({ xid: "0", seq: 0 })
        .where("account_id", "=", accountId)
        .execute();
      await foldPieces(test.db, accountId, 7);
      await rebuildPieces(test.db, accountId, limit);
      await markAllConversations(test.db, accountId, 1, NEVER);
      await rebuildPieces(test.db, accountId, limit);
      expect(await digest(accountId)).toBe(once);
    }),
    { numRuns: CASES, endOnFailure: false },
  );
  for (const table of tables)
    expect([table, met.rows.get(table) ?? 0]).toEqual([table, expect.toSatisfy((rows) => rows > CASES)]);
  if (!isThorough) return;
  expect(met.merges).toBeGreaterThan(CASES / 40);
  expect(met.splits).toBeGreaterThan(CASES / 40);
});
