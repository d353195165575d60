import fc from "fast-check";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { metrics } from "../../src/analytics/catalog.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { foldBatch, type Position } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertEvents, type NewEvent } from "../../src/db/queries/insert-events.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift, repairDrift } from "../../src/db/rollups/drift.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { toNewEvent } from "../../src/events/to-new-event.js";
import { canonicalEvent, type EventJson } from "../../src/sources/canonical-event.js";
import { eventHistories } from "../support/event-histories.js";
import { keptDays, query } from "../support/metrics-cells.js";
import { oracleMetrics } from "../support/oracle.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

vi.setConfig({ testTimeout: 90_000 });

const WRITERS = 3;
const FOLDERS = 3;
const BATCH = 6;
/** On a slow machine the writers may end before. */
const MIN_REPAIRS = 30;

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test?.close());

const counts = metrics.filter(({ id, family }) => family === "delivery" && id.startsWith("messages_"));

/** Many messages of one account: several histories, each with names of its own. What edits say is tested elsewhere. */
function historyOf(accountId: string, histories: number, seed: number): EventJson[] {
  const drawn = fc.sample(eventHistories(accountId), { numRuns: histories, seed });
  return drawn.flatMap((events, index) =>
    events
      .filter(({ type }) => !["message.edited", "message.revoked", "message.deleted"].includes(type))
      .map(({ text_length: _, ...event }) => ({
        ...event,
        ...(event.message_id === undefined ? {} : { message_id: `h${index}-${event.message_id}` }),
      })),
  );
}

/** All events in any order, a third of them twice. */
function disturbed(events: readonly EventJson[], seed: number): NewEvent[] {
  const again = events.filter((_, index) => index % 3 === 0);
  const all = [...events, ...again];
  const [shuffled] = fc.sample(fc.shuffledSubarray(all, { minLength: all.length }), { numRuns: 1, seed });
  return shuffled!.map((event) => toNewEvent(canonicalEvent.parse(event)));
}

const spoil = (accountId: string) =>
  test.pool.query(
    `update rollups set cohort_sent = coalesce(cohort_sent, 0) + 1, event_read = coalesce(event_read, 0) - 2
     where (account_id, bucket, dimensions_id) = (
       select account_id, bucket, dimensions_id from rollups where account_id = $1
       order by random() limit 1 for update)`,
    [accountId],
  );

/** Writers, folds, settlings and recomputations of all accounts beside each other, until everything is written. `spoiled`: with something to repair each time. */
async function runDisorder(accounts: readonly string[], arrivals: readonly NewEvent[], spoiled: boolean) {
  const done = { events: 0, folds: 0, settled: 0, repairs: 0, drifted: 0 };
  let writing = WRITERS;
  const batches = Array.from({ length: Math.ceil(arrivals.length / BATCH) }, (_, at) =>
    arrivals.slice(at * BATCH, (at + 1) * BATCH),
  );
  const write = async () => {
    for (let batch = batches.pop(); batch; batch = batches.pop())
      done.events += (await insertEvents(test.db, batch)).filter(Boolean).length;
    writing--;
  };
  const foldAll = async (offset: number) => {
    for (let turn = offset; writing > 0; turn++) {
      const { messages } = await foldBatch(test.db, accounts[turn % accounts.length]!, { limit: 50 });
      if (messages > 0) done.folds++;
    }
  };
  const settle = async () => {
    for (let turn = 0; writing > 0; turn++) {
      done.settled += await settleRollups(test.db, accounts[turn % accounts.length]!);
    }
  };
  const recompute = async () => {
    for (let turn = 0; writing > 0 || done.repairs < MIN_REPAIRS; turn++) {
      const accountId = accounts[turn % accounts.length]!;
      if (spoiled) await spoil(accountId);
      done.drifted += (await repairDrift(test.db, accountId)).rows;
      done.repairs++;
    }
  };
  await Promise.all([
    ...Array.from({ length: WRITERS }, write),
    ...Array.from({ length: FOLDERS }, (_, index) => foldAll(index)),
    settle(),
    recompute(),
    recompute(),
  ]);
  return done;
}

async function foldToTheEnd(accountId: string): Promise<void> {
  let after: Position | undefined;
  for (;;) {
    const batch = await foldBatch(test.db, accountId, { after, limit: 10_000 });
    if (batch.caughtUp) return;
    after = batch.position;
  }
}

async function expectExact(accountId: string, events: readonly EventJson[]): Promise<void> {
  await foldToTheEnd(accountId);
  expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });
  const ids = counts.map(({ id }) => id);
  const range = { from: "2025-03-20T00:00:00Z", to: "2025-11-10T00:00:00Z" };
  for (const basis of ["cohort", "event"] as const) {
    const asked = { metrics: ids, interval: "day" as const, basis };
    const expected = oracleMetrics(events, {
      ...asked,
      ...range,
      account_id: accountId,
      group_by: ["template"],
      time_zone: "UTC",
    });
    const plan = planMetrics(
      query(accountId, {
        ...asked,
        from: new Date(range.from),
        to: new Date(range.to),
        groupBy: ["template"],
        kept: keptDays("UTC"),
      }),
    );
    const found = await readMetrics(test.db, plan);
    const inOrder = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row, keysOf(rows))).sort();
    expect(inOrder(found.rows)).toEqual(inOrder(expected.rows));
    expect(inOrder(found.totals)).toEqual(inOrder(expected.totals));
  }
}

const keysOf = (rows: readonly object[]) => Object.keys(rows[0] ?? {}).sort();

it.each([
  { accounts: 1, histories: 400, spoiled: false },
  { accounts: 20, histories: 20, spoiled: true },
])("$accounts account(s) written, folded and recomputed at once come out exact", async (size) => {
  const names = Array.from({ length: size.accounts }, (_, at) => `disorder-${size.accounts}-${at}`);
  const histories = new Map(names.map((name, at) => [name, historyOf(name, size.histories, at + 1)]));
  await ensureAccounts(test.db, names);
  const done = await runDisorder(names, disturbed([...histories.values()].flat(), 11), size.spoiled);
  console.info(`${size.accounts} accounts:`, JSON.stringify(done));
  // Otherwise they did not meet.
  expect(done.folds).toBeGreaterThan(10);
  expect(done.settled).toBeGreaterThan(10);
  expect(done.repairs).toBeGreaterThan(10);
  // Folding changes messages and rollups together, so only what was spoiled has to be corrected.
  if (size.spoiled) expect(done.drifted).toBeGreaterThan(10);
  else expect(done.drifted).toBe(0);
  for (const [name, events] of histories) await expectExact(name, events);
});
