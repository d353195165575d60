import fc from "fast-check";
import { sql } from "kysely";
import { DateTime } from "luxon";
import { afterAll, beforeAll, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { presentCohorts, toRetentionQuery } from "../../src/analytics/retention-query.js";
import { measureContactDrift } from "../../src/db/contacts/contact-drift.js";
import { createAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { readRetention } from "../../src/db/queries/read-retention.js";
import { casesOf } from "../support/cases.js";
import { contactHistories } from "../support/contact-histories.js";
import { shuffleSplitDuplicate } from "../support/event-histories.js";
import { foldPieces, joinedBatches } from "../support/folded.js";
import { keptDays, query } from "../support/metrics-cells.js";
import {
  type OracleContacts,
  oracleCohort,
  oracleContacts,
  oraclePeriod,
  oracleRange,
  type Period,
} from "../support/oracle-contacts.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

const CASES = casesOf("CONTACT", { few: 60, many: 200 });

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

/** Santiago's clocks go back over midnight in April, from Sunday to Saturday. */
const zones = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"];

const cases = contactHistories("a").chain((history) =>
  fc.record({
    history: fc.constant(history),
    batches: shuffleSplitDuplicate(history).map((batches) => joinedBatches(10, batches)),
    folds: fc.uniqueArray(fc.nat(9), { maxLength: 4 }),
    limit: fc.constantFrom(3, 20, 1_000),
    timeZone: fc.constantFrom(...zones),
    from: fc.integer({ min: 0, max: 40 }),
    days: fc.integer({ min: 1, max: 200 }),
    periods: fc.integer({ min: 1, max: 30 }),
  }),
);

const tablesOf = async (accountId: string) =>
  (
    await sql<{ kept: string }>`
      select r::text as kept from contact_presence r where account_id = ${accountId}
      union all
      select c::text from contact_cohorts c where account_id = ${accountId} order by 1`.execute(test.db)
  ).rows.map(({ kept }) => kept);

/** In every zone at noon of UTC; the last days of the histories lie after it. */
const TODAY = "2025-10-20";

const metrics = ["active_contacts", "new_contacts", "returning_contacts"];

/** The instant at which a local date begins; walking on from there would keep the hour of a midnight that is skipped. */
const startOf = (date: string, zone: string) => DateTime.fromISO(date, { zone }).startOf("day").toJSDate();

const next = (date: string, period: Period, count = 1) =>
  DateTime.fromISO(date, { zone: "utc" })
    .plus({ [period]: count })
    .toISODate()!;

/** The first dates of the periods that the days from `from` up to `to` touch, and of the one after them. */
function datesOf([from, to]: Days, period: Period): string[] {
  const dates = [DateTime.fromISO(from, { zone: "utc" }).startOf(period).toISODate()!];
  while (dates.at(-1)! <= to) dates.push(next(dates.at(-1)!, period));
  return dates;
}
type Days = [from: string, to: string];

/** Buckets and totals of each interval against the oracle. */
async function expectMetrics(accountId: string, oracle: OracleContacts, timeZone: string, days: Days) {
  for (const interval of ["day", "week", "month", "all"] as const) {
    const dates = datesOf(days, interval === "all" ? "day" : interval);
    const range: Days = [dates[0]!, dates.at(-1)!];
    const [from, to] = range.map((date) => startOf(date, timeZone)) as [Date, Date];
    const asked = query(accountId, { metrics, interval, timeZone, from, to, kept: keptDays(timeZone) });
    const { rows, totals } = await readMetrics(test.db, planMetrics(asked));
    const whole = oracleRange(oracle, ...range);
    expect(totals).toEqual([whole]);
    expect(rows).toEqual(
      interval === "all"
        ? [{ bucket: from.toISOString(), ...whole }]
        : dates.slice(0, -1).map((date) => ({
            bucket: startOf(date, timeZone).toISOString(),
            ...oraclePeriod(oracle, interval, date),
          })),
    );
  }
}

async function expectRetention(
  accountId: string,
  oracle: OracleContacts,
  timeZone: string,
  { period, periods, days }: { period: Period; periods: number; days: Days },
) {
  const [from, to] = days.map((date) => startOf(date, timeZone)) as [Date, Date];
  const asked = toRetentionQuery(
    { from, to, period, periods },
    { accountId, timeZone, kept: keptDays(timeZone), isAlwaysOpen: true },
    new Date(`${TODAY}T12:00:00Z`),
  );
  const { counts } = await readRetention(test.db, asked);
  const found = presentCohorts(asked, (cohort, date) => counts.get(`${cohort} ${date}`) ?? 0);
  const cohorts = datesOf(days, period).filter((date) => date >= days[0] && date < days[1] && date <= TODAY);
  expect(found).toEqual(
    cohorts.map((date) => {
      const active = Array.from({ length: periods + 1 }, (_, later) => {
        const at = next(date, period, later);
        return at > TODAY ? null : oracleCohort(oracle, period, date, at);
      });
      const contacts = active[0]!;
      const share = active.map((count) => (count === null || contacts === 0 ? null : count / contacts));
      return { starts: startOf(date, timeZone).toISOString(), contacts, active, share };
    }),
  );
}

let made = 0;

it("any order, split, repetition, lateness and re-fold of a history gives the oracle's contacts", {
  timeout: 1_800_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ history, batches, folds, limit, timeZone, from, days, periods }) => {
      const accountId = `contacts-${++made}`;
      await createAccount(test.db, { accountId, name: null, timeZone });
      for (const [index, batch] of batches.entries()) {
        await storeEvents(test.db, accountId, batch);
        if (folds.includes(index)) await foldPieces(test.db, accountId, limit);
      }
      await foldPieces(test.db, accountId, 1_000);

      const oracle = oracleContacts(history, timeZone);
      const begin = DateTime.fromISO("2025-03-25", { zone: "utc" }).plus({ days: from });
      const range: Days = [begin.toISODate()!, begin.plus({ days }).toISODate()!];
      await expectMetrics(accountId, oracle, timeZone, range);
      for (const period of ["day", "week", "month"] as const)
        await expectRetention(accountId, oracle, timeZone, { period, periods, days: range });

      const once = await tablesOf(accountId);
      await test.db
        .updateTable("fold_watermarks")
        .set({ xid: "0", seq: 0 })
        .where("account_id", "=", accountId)
        .execute();
      await foldPieces(test.db, accountId, limit);
      expect(await tablesOf(accountId)).toEqual(once);
      expect(await measureContactDrift(test.db, accountId)).toMatchObject({ rows: 0 });
    }),
    { numRuns: CASES, endOnFailure: true },
  );
});
