import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultSettings } from "../../src/analytics/account-settings.js";
import { accountsToRebuild } from "../../src/db/conversations/marks.js";
import { createAccount, updateAccount } from "../../src/db/queries/accounts.js";
import { findStaleConversations } from "../../src/jobs/find-stale-conversations.js";
import { rebuildConversationsJob } from "../../src/jobs/rebuild-conversations.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

/** An account with chats that wait since then, all of whose events were folded `foldedAgo` seconds ago. */
async function waiting(accountId: string, { ago, foldedAgo, chats = 1 }: Record<string, number>) {
  await createAccount(test.db, { accountId, name: null, timeZone: "UTC" });
  await test.pool.query(
    `insert into conversation_marks (account_id, chat_key, month, chat_id, from_at, to_at, marked_at)
     select $1, md5(n::text)::uuid, '2025-03-01', 'c' || n, '2025-03-01', '2025-03-01', now() - $2 * interval '1 second'
     from generate_series(1, $3) n`,
    [accountId, ago, chats],
  );
  await test.pool.query(
    "update fold_watermarks set folded_at = now() - $2 * interval '1 second' where account_id = $1",
    [accountId, foldedAgo],
  );
}
const minute = 60;

describe("the look for conversations that wait", () => {
  it("wakes those that nothing holds up, and trusts no dedupe key after a long while", async () => {
    await waiting("fresh", { ago: 30, foldedAgo: 30 });
    await waiting("lost", { ago: 2 * minute, foldedAgo: 2 * minute });
    // A backfill: its chats are read when it is through, or after a long while.
    await waiting("folding", { ago: 2 * minute, foldedAgo: 3 * minute });
    await waiting("stuck:1", { ago: 11 * minute, foldedAgo: 12 * minute });
    await createAccount(test.db, { accountId: "changed", name: null, timeZone: "UTC" });
    await updateAccount(test.db, "changed", { settings: { sla_seconds: 60 } }, defaultSettings);

    const now = () => new Date(1_800_000);
    const { result, enqueued } = await test.work(findStaleConversations, {}, { now });
    expect(result).toEqual({ waiting: 3, stuck: 1 });
    const wake = (accountId: string, options: object) => ({
      kind: "conversations.rebuild",
      payload: { accountId },
      options,
    });
    const id = `conversations-${Buffer.from("stuck:1").toString("base64url")}-3`;
    expect(enqueued).toEqual([wake("changed", {}), wake("lost", {}), wake("stuck:1", { dedupe: false, id })]);
    // Twice in the same while the same ids, which the queue takes once.
    expect(await test.work(findStaleConversations, {}, { now })).toEqual({ result, enqueued });

    for (const accountId of ["changed", "lost", "stuck:1"])
      await test.work(rebuildConversationsJob, { accountId });
    expect((await test.work(findStaleConversations, {})).result).toEqual({ waiting: 0, stuck: 0 });
  });

  it("takes those that have waited longest, whatever another account has waiting", async () => {
    await waiting("heavy", { ago: 20 * minute, foldedAgo: 0, chats: 2_000 });
    await waiting("second", { ago: 30 * minute, foldedAgo: 0 });
    const find = async (limit: number) =>
      (await accountsToRebuild(test.db, { staleAfterMs: 60_000, stuckAfterMs: 600_000, limit })).map(
        ({ accountId }) => accountId,
      );
    expect(await find(1)).toEqual(["second"]);
    expect(await find(2)).toEqual(["heavy", "second"]);
    let looks = 0;
    const now = () => new Date(20_000 * looks++ + looks);
    const { result, enqueued } = await test.work(rebuildConversationsJob, { accountId: "heavy" }, { now });
    expect(result).toMatchObject({ stretches: 100, unfinished: true });
    expect(enqueued).toHaveLength(1);
  });
});
