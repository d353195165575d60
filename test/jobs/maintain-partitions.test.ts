import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
});
