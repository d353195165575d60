import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requestCancel } from "../../src/db/queries/runs.js";
import { aggregate } from "../../src/jobs/aggregate.js";
import { openWork, seedMessages, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const rollups = async (accountId: string) =>
  (
    await test.pool.query("select * from rollups where account_id = $1 order by bucket, dimensions_id", [
      accountId,
    ])
  ).rows;

async function run(accountId: string, params: Record<string, unknown>) {
  const key = await test.insertRun("aggregation", accountId, params);
  await test.work(aggregate, key);
  const first = await test.run(key);
  expect(first).toMatchObject({ status: "succeeded", artifact: null });
  expect((await test.work(aggregate, key)).result).toEqual({ skipped: "nothing to do" });
  expect(await test.run(key)).toEqual(first);
  return first.result;
}

describe("an aggregation", () => {
  it("finds and repairs what differs from the messages", async () => {
    const messages = await seedMessages(test, "shop");
    const sound = await rollups("shop");
    expect(sound.length).toBeGreaterThan(3);
    expect(await run("shop", { action: "verify" })).toEqual({ messages, drifted_rows: 0, repaired_rows: 0 });
    const broken =
      "(select ctid from rollups where account_id = 'shop' and cohort_sent > 0 order by bucket limit 1)";
    await test.pool.query(`update rollups set cohort_sent = cohort_sent + 3 where ctid = ${broken}`);
    const lost = "(select ctid from rollups where account_id = 'shop' order by bucket desc limit 1)";
    await test.pool.query(`delete from rollups where ctid = ${lost}`);
    expect(await run("shop", { action: "verify" })).toEqual({ messages, drifted_rows: 2, repaired_rows: 0 });
    expect(await run("shop", { action: "recompute" })).toEqual({
      messages,
      drifted_rows: 2,
      repaired_rows: 2,
    });
    expect(await rollups("shop")).toEqual(sound);
    expect(await run("shop", { action: "recompute" })).toEqual({
      messages,
      drifted_rows: 0,
      repaired_rows: 0,
    });
  });

  it("keeps to its range and its account", async () => {
    await seedMessages(test, "a");
    await seedMessages(test, "b");
    await test.pool.query("update rollups set attempted = attempted + 1 where account_id in ('a', 'b')");
    const { rows } = await test.pool.query<{ day: string; rows: number }>(
      "select to_char(bucket, 'DD') as day, count(*)::integer as rows from rollups where account_id = 'a' group by 1 order by 1",
    );
    const ofDay = (day: string) => rows.find((row) => row.day === day)!.rows;
    const second = { from: "2025-03-02T00:00:00Z", to: "2025-03-03T00:00:00Z" };
    expect(await run("a", { action: "recompute", ...second })).toMatchObject({ repaired_rows: ofDay("02") });
    expect(await run("a", { action: "verify" })).toMatchObject({ drifted_rows: ofDay("01") + ofDay("03") });
    expect(await run("b", { action: "verify" })).toMatchObject({
      drifted_rows: rows.reduce((sum, row) => sum + row.rows, 0),
    });
  });

  it("is cancelled while it waits for another repair of the account, and waits no longer", async () => {
    await seedMessages(test, "busy");
    const holder = await test.pool.connect();
    await holder.query("select pg_advisory_lock(hashtextextended('repair busy', 0))");
    const key = await test.insertRun("aggregation", "busy", { action: "recompute" });
    const running = test.work(aggregate, key);
    const waiting = async () =>
      (await test.pool.query("select 1 from pg_locks where locktype = 'advisory' and not granted")).rowCount;
    await expect.poll(waiting, { timeout: 10_000 }).toBe(1);
    await requestCancel(test.db, key.accountId, key.runId);
    await running;
    expect(await test.run(key)).toMatchObject({ status: "cancelled" });
    expect(await waiting()).toBe(0);
    await holder.query("select pg_advisory_unlock_all()");
    holder.release();
  });
});
