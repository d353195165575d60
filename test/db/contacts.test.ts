import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { freezePresenceSql } from "../../src/db/contacts/apply-presence.js";
import { measureContactDrift, repairContactDrift } from "../../src/db/contacts/contact-drift.js";
import { PRESENCE_DELTAS, presenceDeltasSql } from "../../src/db/contacts/presence-deltas.js";
import { foldBatch, preferIndexes } from "../../src/db/fold/fold-account.js";
import { foldBatchSql } from "../../src/db/fold/fold-statement.js";
import { createAccount } from "../../src/db/queries/accounts.js";
import { contactBucketsStatement, contactTotalsStatement } from "../../src/db/queries/read-contacts.js";
import { retentionStatement } from "../../src/db/queries/read-retention.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { keptDays, query } from "../support/metrics-cells.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const fold = (accountId: string) => foldBatch(test.db, accountId, { limit: 100_000 });

async function accountWith(accountId: string, events: readonly EventJson[], timeZone = "Europe/Berlin") {
  await createAccount(test.db, { accountId, name: null, timeZone });
  await storeEvents(test.db, accountId, events);
  await fold(accountId);
}

const wrote = (id: string, contact: string, time: string, more: Partial<EventJson> = {}): EventJson => ({
  account_id: "a",
  type: "message.received",
  message_id: id,
  contact_id: contact,
  occurred_at: time,
  ...more,
});

/** Three contacts over two months; the second one writes at midnight of Berlin. */
const history = [
  wrote("1", "ann", "2025-03-03T10:00:00Z"),
  wrote("2", "ann", "2025-03-03T11:00:00Z"),
  wrote("3", "ann", "2025-04-01T10:00:00Z"),
  wrote("4", "bo", "2025-03-31T22:00:00Z"),
  wrote("5", "bo", "2025-04-09T10:00:00Z"),
  wrote("6", "cy", "2025-04-09T21:59:59Z"),
];

type Cohorts = Record<string, number>;
/** `{"<starts> <first>": contacts}` */
async function cohorts(accountId: string, period: string, zoneId = 1): Promise<Cohorts> {
  const { rows } = await test.pool.query<{ key: string; contacts: number }>(
    `select starts || ' ' || first as key, contacts from contact_cohorts
     where account_id = $1 and period = $2::contact_period and zone_id = $3 order by 1`,
    [accountId, period, zoneId],
  );
  return Object.fromEntries(rows.map(({ key, contacts }) => [key, contacts]));
}

/** Everything held, with the transaction that wrote it on request. */
async function held(accountId: string, { zoneId = 1, versions = false } = {}): Promise<string[]> {
  const shown = versions ? "xmin::text || " : "";
  const { rows } = await test.pool.query<{ held: string }>(
    `select ${shown} concat_ws(' ', period, contact_id, starts, messages) as held
     from contact_presence where account_id = $1 and zone_id = $2
     union all select ${shown} concat_ws(' ', period, starts, first, contacts)
     from contact_cohorts where account_id = $1 and zone_id = $2 order by 1`,
    [accountId, zoneId],
  );
  return rows.map((row) => row.held);
}

describe("the fold", () => {
  it("counts the contacts of each period by the first of that kind", async () => {
    await accountWith("periods", history);
    expect(await cohorts("periods", "month")).toEqual({
      "2025-03-01 2025-03-01": 1,
      "2025-04-01 2025-03-01": 1,
      "2025-04-01 2025-04-01": 2,
    });
    expect(await cohorts("periods", "week")).toEqual({
      "2025-03-03 2025-03-03": 1,
      "2025-03-31 2025-03-03": 1,
      "2025-03-31 2025-03-31": 1,
      "2025-04-07 2025-03-31": 1,
      "2025-04-07 2025-04-07": 1,
    });
    expect(Object.keys(await cohorts("periods", "day"))).toEqual([
      "2025-03-03 2025-03-03",
      "2025-04-01 2025-03-03",
      "2025-04-01 2025-04-01",
      "2025-04-09 2025-04-01",
      "2025-04-09 2025-04-09",
    ]);
  });

  it("goes on with a day that has begun when clocks go back to the day before", async () => {
    // In St. John's, a minute past midnight became a minute past eleven of the evening before.
    const night = [
      wrote("1", "ann", "2010-11-07T02:29:59Z"),
      wrote("2", "bo", "2010-11-07T02:30:00Z"),
      wrote("3", "cy", "2010-11-07T03:15:00Z"),
    ];
    await accountWith("twice", night, "America/St_Johns");
    expect(await cohorts("twice", "day")).toEqual({
      "2010-11-06 2010-11-06": 1,
      "2010-11-07 2010-11-07": 2,
    });
  });

  it("moves a contact to another cohort when an older message comes, and back when it was another's", async () => {
    await accountWith("moves", history);
    const before = await held("moves");
    // Known at first from a gateway, so that WhatsApp's word about the contact is the better one.
    await storeEvents(test.db, "moves", [
      wrote("7", "ann", "2025-02-10T10:00:00Z", { time_quality: "gateway" }),
    ]);
    await fold("moves");
    expect(await cohorts("moves", "month")).toEqual({
      "2025-02-01 2025-02-01": 1,
      "2025-03-01 2025-02-01": 1,
      "2025-04-01 2025-02-01": 1,
      "2025-04-01 2025-04-01": 2,
    });
    await storeEvents(test.db, "moves", [wrote("7", "dee", "2025-02-10T10:00:01Z")]);
    await fold("moves");
    const after = (await held("moves")).filter((row) => !row.includes("dee") && !row.includes("2025-02"));
    expect(after).toEqual(before);
    expect(await cohorts("moves", "month")).toMatchObject({ "2025-02-01 2025-02-01": 1 });
  });

  it("forgets a message that turns out to be our own", async () => {
    await accountWith("ours", history);
    const before = await held("ours");
    await storeEvents(test.db, "ours", [
      wrote("8", "eve", "2025-04-10T10:00:00Z", { time_quality: "gateway" }),
    ]);
    await fold("ours");
    expect(await held("ours")).not.toEqual(before);
    await storeEvents(test.db, "ours", [
      { account_id: "a", type: "message.sent", message_id: "8", occurred_at: "2025-04-10T10:00:01Z" },
    ]);
    await fold("ours");
    expect(await held("ours")).toEqual(before);
  });

  it("writes nothing here for statuses, nor for a message that only another one repeats", async () => {
    await accountWith("still", [
      ...history,
      { account_id: "a", type: "message.sent", message_id: "o", occurred_at: "2025-04-10T10:00:00Z" },
    ]);
    const before = await held("still", { versions: true });
    await storeEvents(test.db, "still", [
      { account_id: "a", type: "message.read", message_id: "o", occurred_at: "2025-04-10T10:05:00Z" },
      wrote("1", "ann", "2025-03-03T10:00:03Z", { content_kind: "text" }),
    ]);
    expect(await fold("still")).toMatchObject({ messages: 2 });
    expect(await held("still", { versions: true })).toEqual(before);
  });

  it("writes no cohort when a contact writes again on the same day", async () => {
    await accountWith("again", history);
    const before = new Set(await held("again", { versions: true }));
    await storeEvents(test.db, "again", [wrote("9", "ann", "2025-04-01T12:00:00Z")]);
    await fold("again");
    const written = (await held("again", { versions: true })).filter((row) => !before.has(row));
    expect(written).toHaveLength(3);
    expect(written.filter((row) => row.includes("ann"))).toHaveLength(3);
  });
});

describe("repairContactDrift", () => {
  const spoil = [
    "delete from contact_presence where account_id = $1 and contact_id = 'bo' and starts = '2025-04-01'",
    "update contact_presence set messages = messages + 3 where account_id = $1 and contact_id = 'cy' and period = 'week'",
    "update contact_presence set messages = -1 where account_id = $1 and contact_id = 'ann' and period = 'month' and starts = '2025-03-01'",
    "insert into contact_presence values ($1, 1, 'day', 'ghost', '2024-01-01', 2, 0)",
    "update contact_cohorts set contacts = contacts + 1 where account_id = $1 and period = 'month'",
    "delete from contact_cohorts where account_id = $1 and period = 'week'",
    "insert into contact_cohorts values ($1, 1, 'day', '2025-01-02', '2025-01-01', 7)",
  ];

  it("restores spoiled tables, whatever was folded since they were", async () => {
    await accountWith("spoiled", history);
    await accountWith("other", history);
    for (const statement of spoil) await test.pool.query(statement, ["spoiled"]);
    await test.pool.query("update contact_cohorts set contacts = contacts + 1 where account_id = 'other'");
    const drift = await measureContactDrift(test.db, "spoiled");
    expect(drift).toEqual({ messages: 6, rows: expect.any(Number) });
    expect(drift.rows).toBeGreaterThan(spoil.length);

    // A fold changes what is expected and what is held by the same amount.
    const later = [
      wrote("10", "bo", "2025-02-01T10:00:00Z"),
      wrote("11", "cy", "2025-04-09T10:00:00Z"),
      wrote("12", "ghost", "2023-12-31T10:00:00Z"),
      wrote("13", "ann", "2025-03-03T13:00:00Z"),
    ];
    await storeEvents(test.db, "spoiled", later);
    await fold("spoiled");
    expect(await measureContactDrift(test.db, "spoiled")).toEqual({ messages: 10, rows: drift.rows });

    await accountWith("sound", [...history, ...later]);
    expect(await repairContactDrift(test.db, "spoiled")).toEqual({ messages: 10, rows: drift.rows });
    expect(await held("spoiled")).toEqual(await held("sound"));
    expect(await measureContactDrift(test.db, "spoiled")).toEqual({ messages: 10, rows: 0 });
    expect((await measureContactDrift(test.db, "other")).rows).toBeGreaterThan(0);
    expect(await repairContactDrift(test.db, "sound")).toEqual({ messages: 10, rows: 0 });
  });

  it("builds a new zone while folds go on", async () => {
    await accountWith("zoned", [
      ...history,
      wrote("7", "ann", "2025-04-09T10:00:00Z", { time_quality: "gateway" }),
    ]);
    await test.pool.query("insert into account_zones values ('zoned', 2, 'Pacific/Apia')");
    // Takes a message from a contact whose days in the new zone are not there yet.
    const better = wrote("7", "dee", "2025-04-09T10:00:01Z");
    await storeEvents(test.db, "zoned", [better, wrote("8", "bo", "2025-05-01T10:00:00Z")]);
    await fold("zoned");
    expect(await held("zoned", { zoneId: 2 })).toContain("day ann 2025-04-09 -1");
    const first = await held("zoned");
    await repairContactDrift(test.db, "zoned", { zoneId: 2 });
    expect(await held("zoned")).toEqual(first);
    await accountWith("apia", [...history, better, wrote("8", "bo", "2025-05-01T10:00:00Z")], "Pacific/Apia");
    expect(await held("zoned", { zoneId: 2 })).toEqual(await held("apia"));
    expect(await measureContactDrift(test.db, "zoned")).toMatchObject({ rows: 0 });
  });

  it("and folds at the same time lose nothing to one another", async () => {
    await accountWith("race", history);
    await test.pool.query("insert into account_zones values ('race', 2, 'America/Santiago')");
    const write = async () => {
      for (let index = 0; index < 20; index++) {
        const time = new Date(Date.UTC(2025, 3, 20 - index, 12));
        const ids = ["ann", "bo", "cy", "dee"].map((contact) => `${contact}-${index % 10}`);
        const events = ids.map((id) => wrote(id, id.slice(0, 2), time.toISOString()));
        await storeEvents(test.db, "race", events);
        await fold("race");
      }
    };
    const repair = async () => {
      const drifts = [];
      for (let round = 0; round < 5; round++) drifts.push(await repairContactDrift(test.db, "race"));
      return drifts;
    };
    const [drifts] = await Promise.all([repair(), write()]);
    expect(drifts[0]!.rows).toBeGreaterThan(0);
    expect(drifts.slice(1).map(({ rows }) => rows)).toEqual([0, 0, 0, 0]);
    expect(await measureContactDrift(test.db, "race")).toMatchObject({ rows: 0 });
  });

  it("keeps what messages came to that have been removed by age", async () => {
    await accountWith("aged", history);
    const before = await held("aged");
    // Events go before their messages do; a fold that reads them again would make those once more.
    await test.pool.query(
      "delete from message_events where account_id = 'aged' and occurred_at < '2025-04-01'",
    );
    await test.pool.query(
      `with states as (
         delete from messages where account_id = $1 and anchor_at < '2025-04-01' returning 1 as sign, messages.*
       ),${presenceDeltasSql("states")},${freezePresenceSql(PRESENCE_DELTAS)} select 1`,
      ["aged"],
    );
    expect(await measureContactDrift(test.db, "aged")).toEqual({ messages: 3, rows: 0 });
    await test.pool.query("update contact_presence set messages = messages + 1 where account_id = 'aged'");
    expect(await repairContactDrift(test.db, "aged")).toMatchObject({ messages: 3 });
    expect(await held("aged")).toEqual(before);
    await storeEvents(test.db, "aged", [wrote("9", "ann", "2025-04-10T10:00:00Z")]);
    await fold("aged");
    expect(await cohorts("aged", "month")).toMatchObject({ "2025-04-01 2025-03-01": 1 });
    expect(await measureContactDrift(test.db, "aged")).toEqual({ messages: 4, rows: 0 });
  });

  it("can be cancelled while it waits for another repair of the account", async () => {
    await accountWith("busy", history);
    const holder = await test.pool.connect();
    await holder.query("select pg_advisory_lock(hashtextextended('repair busy', 0))");
    const cancel = new AbortController();
    const running = repairContactDrift(test.db, "busy", {}, cancel.signal).catch((error: unknown) => error);
    const waiting = async () =>
      (await test.pool.query("select 1 from pg_locks where locktype = 'advisory' and not granted")).rowCount;
    await expect.poll(waiting, { timeout: 10_000 }).toBe(1);
    cancel.abort(new Error("cancelled"));
    expect(await running).toEqual(new Error("cancelled"));
    await holder.query("select pg_advisory_unlock_all()");
    holder.release();
  });
});

describe("the plans of the statements", () => {
  beforeAll(async () => {
    await test.pool.query(`
      insert into contact_presence
      select 'full-' || account, 1, period::contact_period, 'c' || contact, starts, 1
      from generate_series(1, 4) account, generate_series(1, 60) contact,
           unnest(array['day', 'week', 'month']) period,
           generate_series('2025-01-01'::date, '2025-04-30', ('1 ' || period)::interval) starts`);
    await test.pool.query(`
      insert into contact_cohorts
      select distinct account_id, zone_id, period, starts, first, 1
      from contact_presence p
      join (select distinct account_id, zone_id, period, starts as first from contact_presence where starts < '2025-02-01') f
        using (account_id, zone_id, period)
      where account_id like 'full-%' and starts >= first`);
    await test.pool.query("vacuum analyze contact_presence, contact_cohorts");
  });

  const explain = async ({ text, parameters }: { text: string; parameters: unknown[] }) =>
    (await test.pool.query(`explain ${text}`, parameters)).rows
      .map((row) => row["QUERY PLAN"] as string)
      .join("\n");
  const asked = query("full-3", {
    metrics: ["active_contacts"],
    from: new Date("2025-01-10T00:00:00Z"),
    to: new Date("2025-04-20T00:00:00Z"),
    kept: keptDays("UTC"),
  });

  it("count different contacts from the index alone, and read ranges of cohorts", async () => {
    const plan = planMetrics(asked).contacts!;
    const totals = await explain(contactTotalsStatement("full-3", plan));
    expect(totals.match(/Index Only Scan using contact_presence_by_time/g)).toHaveLength(3);
    const buckets = await explain(contactBucketsStatement("full-3", plan));
    const cohortRange = /(Index Scan using|Bitmap Index Scan on) contact_cohorts/;
    expect(buckets).toMatch(cohortRange);
    const retention = await explain(
      retentionStatement({
        ...{ accountId: "full-3", zoneId: 1, timeZone: "UTC", period: "day", periods: 12 },
        ...{ cohorts: [{ starts: asked.from, date: "2025-01-10" }], current: "2025-04-30" },
      }),
    );
    expect(retention).toMatch(cohortRange);
    for (const plan of [totals, buckets, retention]) {
      expect(plan).not.toMatch(/Seq Scan on (contact_|message)/);
      expect(plan).not.toMatch(/ on messages/);
    }
  });

  it("let the fold look up touched contacts only", async () => {
    const lines = await test.db.transaction().execute(async (trx) => {
      await preferIndexes(trx);
      const { rows } = await sql<{ "QUERY PLAN": string }>`${sql.raw(
        `explain ${foldBatchSql.replaceAll("$1", "'full-3'").replaceAll("$2", "'0'").replaceAll("$3", "0").replaceAll("$4", "4000").replaceAll("$5", "false")}`,
      )}`.execute(trx);
      return rows.map((row) => row["QUERY PLAN"]);
    });
    const scans = lines.flatMap((line, index) => {
      const [, scan, table] = /-> +(.*Scan.*) on (contact_presence|contact_cohorts) /.exec(line) ?? [];
      return scan ? [{ scan, table, condition: lines[index + 1]!.trim() }] : [];
    });
    // What is emptied is deleted by its place: to join it again might read the account once for each row.
    const [removed, looked] = [true, false].map((isRemoved) =>
      scans.filter(({ scan }) => (scan === "Tid Scan") === isRemoved),
    );
    expect(removed!.map(({ table }) => table).sort()).toEqual(["contact_cohorts", "contact_presence"]);
    expect(looked!.length).toBeGreaterThanOrEqual(5);
    for (const { scan, table, condition } of looked!) {
      if (table === "contact_cohorts") expect(scan).toMatch(/^Index Scan using contact_cohorts_/);
      else expect(scan).toBe("Index Scan using contact_presence_pkey");
      expect(condition).toMatch(
        table === "contact_cohorts"
          ? /^Index Cond: .*starts = .*first = |^Index Cond: .*first = .*starts = /
          : /^Index Cond: .*contact_id = /,
      );
    }
  });
});
