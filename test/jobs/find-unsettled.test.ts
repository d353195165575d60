import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { findUnsettled } from "../../src/jobs/find-unsettled.js";
import { settleRollupsJob } from "../../src/jobs/settle-rollups.js";
import { newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

describe("the look for accounts whose numbers wait to be settled", () => {
  it("wakes those that have waited for a minute, by a name for each minute", async () => {
    for (const accountId of ["fresh", "waits"]) {
      await storeEvents(test, [newEvent(accountId, "m", "sent", "2025-03-01T09:00:00Z")]);
      await foldBatch(test.db, accountId, { limit: 10 });
    }
    await test.pool.query(
      "update fold_watermarks set unsettled_since = now() - interval '61 seconds' where account_id = 'waits'",
    );
    const at = (ms: number) => ({ now: () => new Date(ms) });
    const id = (minute: number) => `settle-${Buffer.from("waits").toString("base64url")}-${minute}`;
    const { result, enqueued } = await test.work(findUnsettled, {}, at(120_000));
    expect(result).toEqual({ waiting: 1 });
    const wake = {
      kind: "rollups.settle",
      payload: { accountId: "waits" },
      options: { dedupe: false, id: id(2) },
    };
    expect(enqueued).toEqual([wake]);
    expect(await test.work(findUnsettled, {}, at(179_999))).toEqual({ result, enqueued });
    expect((await test.work(findUnsettled, {}, at(180_000))).enqueued[0]!.options!.id).toBe(id(3));

    await test.work(settleRollupsJob, { accountId: "waits" });
    expect(await test.work(findUnsettled, {})).toEqual({ result: { waiting: 0 }, enqueued: [] });
  });
});
