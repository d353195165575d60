import fc from "fast-check";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { createAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { casesOf } from "../support/cases.js";
import { eventHistories, shuffleSplitDuplicate } from "../support/event-histories.js";
import { foldPieces, joinedBatches } from "../support/folded.js";
import { expectRows, keptDays, oracleQuery, queries, query } from "../support/metrics-cells.js";
import { oracleMetrics } from "../support/oracle.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

/** Cases of the property. Each has its own history, disorder, batching, folds in between and question. */
const CASES = casesOf("FOLD", { few: 100, many: 1_000 });

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const histories = eventHistories("a").chain((history) =>
  fc.record({
    history: fc.constant(history),
    batches: shuffleSplitDuplicate(history).map((batches) => joinedBatches(8, batches)),
    // After which batches a fold comes, and how many events it takes at a time.
    folds: fc.uniqueArray(fc.nat(7), { maxLength: 3 }),
    limit: fc.constantFrom(5, 20, 1_000),
    // After which of these folds what is left is settled.
    settles: fc.uniqueArray(fc.nat(7), { maxLength: 2 }),
    // An hour each of seven months is thousands of rows to compare: the test of the metrics does that, a few times.
    asked: queries.filter((asked) => asked.interval !== "hour" || "from" in asked),
    // The drift is measured while rows wait to be settled, or when all is folded again: to measure takes most of the time.
    isMeasuredEarly: fc.boolean(),
    // Whether the account's days are those of the zone that is asked for.
    inOwnZone: fc.boolean(),
  }),
);

const stateOf = async (accountId: string) =>
  (
    await sql<{ digest: string }>`
      select md5(string_agg(r, '|' order by r)) as digest
      from (
        select m::text as r from messages m where account_id = ${accountId}
        union all
        select r::text from rollups r where account_id = ${accountId}
        union all
        select d::text from daily_rollups d where account_id = ${accountId}
        union all
        select w::text from rollup_deltas w where account_id = ${accountId}
      ) kept`.execute(test.db)
  ).rows[0]!.digest;

let made = 0;

it("any order, split, repetition, lateness and re-fold of a history gives the oracle's numbers", {
  timeout: 1_800_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(histories, async ({ history, batches, folds, settles, limit, asked, ...drawn }) => {
      const accountId = `property-${++made}`;
      const timeZone = drawn.inOwnZone ? asked.timeZone : "Pacific/Chatham";
      await createAccount(test.db, { accountId, name: null, timeZone });
      for (const [index, batch] of batches.entries()) {
        await storeEvents(test.db, accountId, batch);
        if (folds.includes(index)) await foldPieces(test.db, accountId, limit);
        if (settles.includes(index)) await settleRollups(test.db, accountId);
      }
      await foldPieces(test.db, accountId, 1_000);

      const wanted = query(accountId, { ...asked, kept: keptDays(timeZone) });
      const found = await readMetrics(test.db, planMetrics(wanted));
      const expected = oracleMetrics(history, oracleQuery(wanted));
      expectRows(found.rows, expected.rows);
      expectRows(found.totals, expected.totals);

      const noDrift = async () => expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });
      if (drawn.isMeasuredEarly) await noDrift();
      await settleRollups(test.db, accountId);
      const settled = await readMetrics(test.db, planMetrics(wanted));
      expect(settled.rows).toEqual(found.rows);
      expect(settled.totals).toEqual(found.totals);
      const once = await stateOf(accountId);
      await test.db
        .updateTable("fold_watermarks")
        .set({ xid: "0", seq: 0 })
        .where("account_id", "=", accountId)
        .execute();
      await foldPieces(test.db, accountId, limit);
      expect(await stateOf(accountId)).toBe(once);
      if (!drawn.isMeasuredEarly) await noDrift();
    }),
    { numRuns: CASES, endOnFailure: false },
  );
});
