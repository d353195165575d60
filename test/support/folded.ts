import type { Db } from "../../src/db/client.js";
import { markAllConversations } from "../../src/db/conversations/marks.js";
import { rebuildConversations } from "../../src/db/conversations/rebuild.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { findConfiguredAccount } from "../../src/db/queries/accounts.js";
import { rulesOf } from "../../src/jobs/rebuild-conversations.js";
import type { EventJson } from "../../src/sources/canonical-event.js";

const NEVER = new AbortController().signal;

/** Folds an account's events in pieces of `limit`, until nothing is left or the rounds are over. */
export async function foldPieces(
  db: Db,
  accountId: string,
  limit: number,
  rounds = Number.POSITIVE_INFINITY,
): Promise<void> {
  let after: Awaited<ReturnType<typeof foldBatch>>["position"];
  for (let round = 0; round < rounds; round++) {
    const batch = await foldBatch(db, accountId, { after, limit });
    if (batch.caughtUp) return;
    after = batch.position;
  }
}

/** Reads the marked chats anew, `limit` stretches at a time, until none is left or the rounds are over. */
export async function rebuildPieces(
  db: Db,
  accountId: string,
  limit: number,
  rounds = Number.POSITIVE_INFINITY,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const account = (await findConfiguredAccount(db, accountId))!;
    if (account.conversations_version !== account.settings_version)
      await markAllConversations(db, accountId, account.settings_version, NEVER);
    const { stretches } = await rebuildConversations(db, accountId, rulesOf(account), { limit });
    if (stretches < limit) return;
  }
}

/** Neighbours joined until there are few enough: each batch is a statement, and many cases have to fit a test run. */
export function joinedBatches(count: number, batches: EventJson[][]): EventJson[][] {
  const made: EventJson[][] = Array.from({ length: Math.min(count, batches.length) }, () => []);
  for (const [index, batch] of batches.entries()) made[index % made.length]!.push(...batch);
  return made;
}
