import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { oldestChecks } from "../../src/db/queries/drift-checks.js";
import type { RunKey } from "../../src/db/queries/runs.js";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { aggregate } from "../../src/jobs/aggregate.js";
import { checkDrift } from "../../src/jobs/check-drift.js";
import { openWork, seedMessages, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

describe("the check of the rollups", () => {
  it("takes every account once a day, the longest unchecked first, and has repaired what drifts", async () => {
    for (const name of ["sound", "spoiled"]) await seedMessages(test, name);
    await test.pool.query(
      "update daily_rollups set attempted = attempted + 1 where account_id = 'spoiled' and grouping = 0 and day = '2025-03-02'",
    );
    // Its time is over after the first account.
    let looks = 0;
    const now = () => new Date(++looks <= 2 ? 0 : 60_000);
    expect((await test.work(checkDrift, {}, { now })).result).toMatchObject({ checked: 1 });
    const second = await test.work(checkDrift, {});
    const found = await test.pool.query("select * from runs");
    expect(found.rows).toMatchObject([
      {
        account_id: "spoiled",
        kind: "aggregation",
        requested_by: "system:drift-check",
        params: { account_id: "spoiled", action: "recompute" },
      },
    ]);
    const { account_id: accountId, run_id: runId, generation } = found.rows[0]!;
    const key: RunKey = { accountId, runId, generation };
    await test.work(aggregate, key);
    expect(await test.run(key)).toMatchObject({ status: "succeeded", result: { repaired_rows: 1 } });
    expect(await measureDrift(test.db, "spoiled")).toMatchObject({ rows: 0 });

    expect(second.result).toMatchObject({ checked: 1 });
    expect((await test.work(checkDrift, {})).result).toEqual({ checked: 0, drifted: 0 });
    await test.pool.query(
      "update fold_watermarks set drift_checked_at = now() - interval '25 hours' where account_id = 'sound'",
    );
    expect((await oldestChecks(test.db, 1))[0]).toMatchObject({ account_id: "sound" });
    expect(await test.work(checkDrift, {})).toEqual({ result: { checked: 1, drifted: 0 }, enqueued: [] });
  });
});
