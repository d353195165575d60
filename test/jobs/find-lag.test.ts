import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { laggingAccounts } from "../../src/db/queries/accounts.js";
import { findLag } from "../../src/jobs/find-lag.js";
import { foldEvents } from "../../src/jobs/fold-events.js";
import { newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

/** A transaction elsewhere on the server, as other tests have them, keeps a watermark back until it has ended. */
const catchUp = (...accountIds: string[]) =>
  expect
    .poll(
      async () => {
        for (const accountId of accountIds) await test.work(foldEvents, { accountId });
        const lagging = await laggingAccounts(test.db, { stuckAfterMs: 30_000, limit: 10 });
        return lagging.filter(({ accountId }) => accountIds.includes(accountId));
      },
      { timeout: 30_000 },
    )
    .toEqual([]);

/** As if its events had waited for longer than an account may lag. */
const age = (accountId: string) =>
  test.pool.query(
    "update message_events set observed_at = now() - interval '31 seconds' where account_id = $1",
    [accountId],
  );

describe("the look for accounts that lag", () => {
  it("wakes those with new events, and trusts no dedupe key where the lag is old", async () => {
    const sent = (accountId: string, id: string) => newEvent(accountId, id, "sent", "2025-03-01T09:00:00Z");
    await storeEvents(test, [sent("fresh", "1"), sent("done", "1"), sent("stuck:1", "1")]);
    await catchUp("fresh", "done");
    await storeEvents(test, [sent("fresh", "2")]);
    await age("stuck:1");
    const now = () => new Date(90_000);
    const first = await test.work(findLag, {}, { now });
    expect(first.result).toEqual({ lagging: 2, stuck: 1 });
    expect(first.enqueued).toEqual([
      {
        kind: "events.fold",
        payload: { accountId: "stuck:1" },
        options: { dedupe: false, id: `fold-${Buffer.from("stuck:1").toString("base64url")}-3` },
      },
      { kind: "events.fold", payload: { accountId: "fresh" }, options: {} },
    ]);
    expect(first.enqueued[0]!.options!.id).not.toContain(":");
    // Within half a minute the same id, so the queue takes it once.
    expect(await test.work(findLag, {}, { now: () => new Date(119_999) })).toEqual(first);
    expect((await test.work(findLag, {}, { now: () => new Date(120_000) })).enqueued[0]!.options!.id).toMatch(
      /-4$/,
    );

    await age("fresh");
    expect((await test.work(findLag, {})).result).toEqual({ lagging: 2, stuck: 2 });
    await catchUp("fresh", "stuck:1");
    expect(await test.work(findLag, {})).toEqual({ result: { lagging: 0, stuck: 0 }, enqueued: [] });
  });
});
