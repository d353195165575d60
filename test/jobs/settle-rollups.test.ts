import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { findConfiguredAccount, queriedAccount } from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { settleRollupsJob } from "../../src/jobs/settle-rollups.js";
import { query } from "../support/metrics-cells.js";
import { newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const MESSAGES = 60;

/** Messages of three days, folded a few at a time: several rows wait for each bucket. */
async function foldSome(accountId: string): Promise<void> {
  for (let index = 0; index < MESSAGES; index++) {
    const at = (second: number) => new Date(Date.UTC(2025, 2, 1 + (index % 3), 9, 0, second)).toISOString();
    const template = index % 2 ? { template: "offer" } : {};
    await storeEvents(test, [
      newEvent(accountId, `m${index}`, "sent", at(index), template),
      newEvent(accountId, `m${index}`, "delivered", at(index + 1 + (index % 7))),
    ]);
    if (index % 10 === 9) await foldBatch(test.db, accountId, { limit: 1_000 });
  }
}

async function answer(accountId: string) {
  const { kept } = queriedAccount((await findConfiguredAccount(test.db, accountId))!);
  const asked = query(accountId, {
    kept,
    from: new Date("2025-03-01T00:00:00Z"),
    to: new Date("2025-03-04T00:00:00Z"),
    metrics: ["messages_sent", "messages_delivered", "time_to_deliver_p90", "time_to_deliver_mean"],
    groupBy: ["template"],
  });
  const { rows, totals } = await readMetrics(test.db, planMetrics(asked));
  return { rows, totals };
}

async function rowsOf(accountId: string) {
  const count = async (table: string) =>
    (await test.pool.query(`select from ${table} where account_id = $1`, [accountId])).rowCount!;
  return {
    waiting: await count("rollup_deltas"),
    quarters: await count("rollups"),
    days: await count("daily_rollups"),
  };
}

describe("settling", () => {
  it("brings what folds have left into both grains, answers stay the same, and nothing is left to do", async () => {
    await foldSome("shop");
    const before = await rowsOf("shop");
    expect(before).toMatchObject({ quarters: 0, days: 0 });
    const waiting = await answer("shop");
    expect(waiting.totals.reduce((sum, row) => sum + Number(row.messages_delivered), 0)).toBe(MESSAGES);

    const { result } = await test.work(settleRollupsJob, { accountId: "shop" });
    expect(result).toEqual({ rows: before.waiting });
    // A row for each day and template in quarters; of days also one for all, and one per single dimension.
    expect(await rowsOf("shop")).toMatchObject({ waiting: 0, quarters: 6 });
    expect((await rowsOf("shop")).days).toBeGreaterThan(6);
    expect(await answer("shop")).toEqual(waiting);
    expect(await measureDrift(test.db, "shop")).toEqual({ messages: MESSAGES, rows: 0 });

    const settled = await rowsOf("shop");
    expect((await test.work(settleRollupsJob, { accountId: "shop" })).result).toEqual({ rows: 0 });
    expect(await rowsOf("shop")).toEqual(settled);
  });

  it("leaves everything as it is when it is stopped before it begins", async () => {
    await foldSome("stopped");
    const before = await rowsOf("stopped");
    const signal = AbortSignal.abort(new Error("stop"));
    await expect(test.work(settleRollupsJob, { accountId: "stopped" }, { signal })).rejects.toThrow("stop");
    expect(await rowsOf("stopped")).toEqual(before);
  });

  it("of hours that are no longer kept goes into the days alone", async () => {
    await foldSome("floored");
    const waiting = await answer("floored");
    await test.pool.query("update accounts set quarters_from = '2025-03-03' where account_id = 'floored'");
    await test.work(settleRollupsJob, { accountId: "floored" });
    expect(await rowsOf("floored")).toMatchObject({ waiting: 0, quarters: 2 });
    expect(await answer("floored")).toEqual(waiting);
    expect(await measureDrift(test.db, "floored")).toMatchObject({ rows: 0 });
  });

  it("of two at once each row is settled by one", async () => {
    await foldSome("twice");
    const { waiting } = await rowsOf("twice");
    const both = await Promise.all([
      test.work(settleRollupsJob, { accountId: "twice" }),
      test.work(settleRollupsJob, { accountId: "twice" }),
    ]);
    expect(both.reduce((sum, { result }) => sum + Number(result.rows), 0)).toBe(waiting);
    expect(await measureDrift(test.db, "twice")).toEqual({ messages: MESSAGES, rows: 0 });
  });
});
