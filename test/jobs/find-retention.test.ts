import { afterAll, beforeAll, expect, it } from "vitest";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { applyRetention } from "../../src/jobs/apply-retention.js";
import { findRetention } from "../../src/jobs/find-retention.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

it("every account has its turn once a day, a new one after its first day", async () => {
  await ensureAccounts(test.db, ["new", "old", "older"]);
  const age = (accountId: string, hours: number) =>
    test.pool.query("update accounts set created_at = now() - $2 * interval '1 hour' where account_id = $1", [
      accountId,
      hours,
    ]);
  await age("old", 25);
  await age("older", 26);
  const asked = async () =>
    (await test.work(findRetention, {})).enqueued.map(({ kind, payload }) => [kind, payload]);
  expect(await asked()).toEqual([
    ["retention.apply", { accountId: "older" }],
    ["retention.apply", { accountId: "old" }],
  ]);
  const { result } = await test.work(applyRetention, { accountId: "older" });
  expect(result).toEqual({ done: true, messages: 0, conversations: 0, events: 0 });
  expect(await asked()).toEqual([["retention.apply", { accountId: "old" }]]);
});
