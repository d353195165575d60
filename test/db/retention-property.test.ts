import { createHash } from "node:crypto";
import fc from "fast-check";
import { sql } from "kysely";
import { DateTime } from "luxon";
import { afterAll, beforeAll, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { createAccount, findConfiguredAccount, queriedAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { casesOf, isThorough } from "../support/cases.js";
import { eventHistories, shuffleSplitDuplicate } from "../support/event-histories.js";
import { foldPieces } from "../support/folded.js";
import { expectRows, oracleQuery, query } from "../support/metrics-cells.js";
import { oracleMetrics } from "../support/oracle.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { type Moment, retainToTheEnd } from "../support/retained.js";
import { storeEvents } from "../support/stored-events.js";

const CASES = casesOf("RETENTION", { few: 12, many: 60 });

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

/** A moment of retention: the floor of messages lies in the history, and it dies after so many chunks at first. */
const moments = fc.record({
  /** Of the time the histories span. */
  floor: fc.constantFrom("2025-03-30", "2025-04-02", "2025-04-05", "2025-06-01", "2025-10-12", "2025-10-20"),
  killedAfter: fc.option(fc.nat(12)),
  chunkRows: fc.constantFrom(1, 3, 1_000),
  quartersDays: fc.constantFrom(1, 30, 200),
  /** Whether what folds have left is settled before, or some time after. */
  settles: fc.boolean(),
});

const cases = eventHistories("a").chain((history) =>
  fc.record({
    history: fc.constant(history),
    batches: shuffleSplitDuplicate(history),
    retained: fc.tuple(moments, moments),
    timeZone: fc.constantFrom("UTC", "Europe/Berlin", "Australia/Lord_Howe"),
  }),
);

const foldAll = (accountId: string) => foldPieces(test.db, accountId, 50);

const retain = (accountId: string, moment: Moment) =>
  retainToTheEnd(test.db, accountId, moment, async () =>
    expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 }),
  );

/** A status of every message, later than any floor. */
const lateStatuses = (history: readonly EventJson[]): EventJson[] =>
  [
    ...new Set(
      history.flatMap(({ type, message_id: id }) => (id && type.startsWith("message.") ? [id] : [])),
    ),
  ].map((message_id, index) => ({
    account_id: "a",
    type: "message.played",
    message_id,
    occurred_at: new Date(Date.parse("2025-10-27T12:00:00Z") + index * 1_001).toISOString(),
  }));

const digest = (text: string) => createHash("md5").update(text).digest("hex");

/** What is stored of an account once it takes nothing older than its floor and nothing for messages that are gone. */
async function sieve(accountId: string) {
  const { messages_from: floor } = (await findConfiguredAccount(test.db, accountId))!;
  const { rows } = await sql<{ id: string }>`
    select replace(id::text, '-', '') as id from retired_messages where account_id = ${accountId}`.execute(
    test.db,
  );
  const gone = new Set(rows.map((row) => row.id));
  const isTooOld = (event: EventJson) => floor !== null && Date.parse(event.occurred_at) < floor.getTime();
  const isLate = (event: EventJson) => event.message_id !== undefined && gone.has(digest(event.message_id));
  return { isTooOld, isLate };
}

async function expectDays(accountId: string, timeZone: string, counted: readonly EventJson[]): Promise<void> {
  const account = queriedAccount((await findConfiguredAccount(test.db, accountId))!);
  const midnight = (date: string) => DateTime.fromISO(date, { zone: timeZone }).toJSDate();
  const asked = query(accountId, {
    timeZone,
    kept: account.kept,
    from: midnight("2025-03-20"),
    to: midnight("2025-11-02"),
    metrics: [
      "messages_attempted",
      "messages_delivered",
      "messages_read",
      "messages_failed",
      "time_to_send_p90",
    ],
    groupBy: ["channel_id"],
  });
  const found = await readMetrics(test.db, planMetrics(asked));
  const expected = oracleMetrics([...counted], oracleQuery(asked));
  expectRows(found.rows, expected.rows);
  expectRows(found.totals, expected.totals);
  expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });
}

let made = 0;

it("days stay the oracle's whatever is removed, whenever it is killed, and whatever comes late", {
  timeout: 1_800_000,
}, async () => {
  let late = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ({ history, batches, retained, timeZone }) => {
      const accountId = `retained-${++made}`;
      await createAccount(test.db, { accountId, name: null, timeZone });
      const third = Math.ceil(batches.length / 3);
      const parts = [0, 1, 2].map((part) => batches.slice(part * third, (part + 1) * third).flat());
      parts[2]!.push(...lateStatuses(history));
      const counted: EventJson[] = [];
      const lateKeys = new Set<string>();
      for (const [index, part] of parts.entries()) {
        const { isTooOld, isLate } = await sieve(accountId);
        const taken = part.filter((event) => !isTooOld(event));
        const isNew = await storeEvents(test.db, accountId, taken);
        for (const [at, event] of taken.entries())
          if (!isLate(event)) counted.push(event);
          else if (isNew[at] && event.type.startsWith("message.")) lateKeys.add(JSON.stringify([event, at]));
        await foldAll(accountId);
        const moment = retained[index];
        await expectDays(accountId, timeZone, counted);
        if (moment?.settles) await settleRollups(test.db, accountId);
        if (moment) await retain(accountId, moment);
        await expectDays(accountId, timeZone, counted);
      }
      const counter = async () =>
        (
          await test.db
            .selectFrom("fold_watermarks")
            .select("late_after_retention")
            .where("account_id", "=", accountId)
            .executeTakeFirstOrThrow()
        ).late_after_retention;
      const counter1 = await counter();
      late += counter1;
      expect(counter1).toBe(lateKeys.size);
      // Everything that is still there once more, with what had come late.
      await sql`update fold_watermarks set xid = '0', seq = 0 where account_id = ${accountId}`.execute(
        test.db,
      );
      await foldAll(accountId);
      await expectDays(accountId, timeZone, counted);
      expect(await counter()).toBe(counter1);
    }),
    { numRuns: CASES, endOnFailure: true },
  );
  // Otherwise nothing came late.
  expect(late).toBeGreaterThan(isThorough ? CASES / 4 : 0);
});

it("frozen rollups have the columns of those that live", async () => {
  const columns = async (table: string) =>
    (
      await sql<{ name: string }>`
        select attname || ' ' || format_type(atttypid, atttypmod) as name from pg_attribute
        where attrelid = ${table}::regclass and attnum > 0 and not attisdropped order by 1`.execute(test.db)
    ).rows;
  for (const table of ["rollups", "daily_rollups"])
    expect(await columns(`${table}_frozen`)).toEqual(await columns(table));
});
