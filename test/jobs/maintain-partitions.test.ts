import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertEvents } from "../../src/db/queries/insert-events.js";
import { ensurePartitions } from "../../src/db/queries/partitions.js";
import { maintainPartitions } from "../../src/jobs/maintain-partitions.js";
import { newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const now = () => new Date("2031-11-30T23:59:59Z");

async function partitions(): Promise<string[]> {
  const { rows } = await test.pool.query<{ name: string }>(
    `select child.relname as name from pg_inherits join pg_class child on child.oid = inhrelid
     where inhparent = 'message_events'::regclass and child.relname ~ '_203' order by 1`,
  );
  return rows.map((row) => row.name.slice("message_events_".length));
}

describe("the partitions of the events", () => {
  it("are made ahead once, however many workers do it at a time", async () => {
    await storeEvents(test, [newEvent("early", "1", "sent", "2031-12-24T18:00:00Z")]);
    const worked = await Promise.all(
      Array.from({ length: 5 }, () => test.work(maintainPartitions, {}, { now })),
    );
    // December holds an event in the default partition already and is left there.
    const months = ["2031_08", "2031_09", "2031_10", "2031_11", "2032_01"];
    expect(await partitions()).toEqual(months);
    const created = worked.map(({ result }) => result.created as string[]);
    expect(created.flat().sort()).toEqual(months.map((month) => `message_events_${month}`));
    expect(created.filter((names) => names.length > 0)).toHaveLength(1);
    expect(await test.work(maintainPartitions, {}, { now })).toEqual({
      result: { created: [], dropped: [] },
      enqueued: [],
    });
    expect(await partitions()).toEqual(months);

    await storeEvents(test, [newEvent("early", "2", "sent", "2032-01-31T23:59:59.999Z")]);
    const { rows } = await test.pool.query(
      "select tableoid::regclass::text as home from message_events where account_id = 'early' order by occurred_at",
    );
    expect(rows).toEqual([{ home: "message_events_default" }, { home: "message_events_2032_01" }]);
  });

  describe("of months that nobody needs", () => {
    const later = new Date("2040-01-01T00:00:00Z");
    const drop = async () => (await test.work(maintainPartitions, {}, { now: () => later })).result.dropped;
    const isWaiting = async () =>
      (
        await test.pool.query(
          `select from pg_locks join pg_database d on d.oid = database
           where datname = current_database() and not granted and mode = 'AccessExclusiveLock'`,
        )
      ).rowCount;
    beforeAll(() => ensurePartitions(test.db, later));

    it("go another time while somebody reads or writes them", async () => {
      await test.db.transaction().execute(async (trx) => {
        await sql`lock table only message_events in access share mode`.execute(trx);
        expect(await drop()).toEqual([]);
      });
    });

    it("stay when an event was committed while the drop waited for it", async () => {
      await ensureAccounts(test.db, ["late"]);
      const trx = await test.db.startTransaction().execute();
      await insertEvents(trx, [newEvent("late", "1", "sent", "2031-08-10T12:00:00Z")]);
      const dropping = drop();
      await expect.poll(isWaiting, { interval: 5, timeout: 10_000 }).toBe(1);
      await trx.commit().execute();
      await dropping;
      await drop();
      expect((await partitions()).filter((month) => month < "2039")).toEqual(["2031_08", "2032_01"]);
    });
  });
});
