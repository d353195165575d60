import { z } from "zod";
import { accountsToRebuild } from "../db/conversations/marks.js";
import { defineJob } from "./define-job.js";
import { ownJob } from "./own-job.js";
import { rebuildConversationsJob } from "./rebuild-conversations.js";

/** Accounts woken per tick; the rest is found by the next one. */
const ACCOUNTS_PER_TICK = 500;
/** The fold wakes a rebuild itself, within a second or two. */
const STALE_AFTER_MS = 60_000;
/** A backfill is folded whole before its chats are read, but conversations do not wait for longer than this. */
const STUCK_AFTER_MS = 10 * 60_000;

/**
 * Wakes the rebuild of every account whose chats wait: the wake-up got lost, the fold made room for others after it
 * had marked them, or the account's settings have changed. A rebuild too many finds nothing to do.
 * Idempotent. Cost: one index probe per account.
 */
export const findStaleConversations = defineJob({
  kind: "conversations.find-stale",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 30_000,
  schedule: { cron: "*/15 * * * * *", payload: {} },
  async run(_payload, { db, enqueue, now }) {
    const accounts = await accountsToRebuild(db, {
      staleAfterMs: STALE_AFTER_MS,
      stuckAfterMs: STUCK_AFTER_MS,
      limit: ACCOUNTS_PER_TICK,
    });
    for (const { accountId, isStuck } of accounts)
      await enqueue(
        rebuildConversationsJob,
        { accountId },
        isStuck ? ownJob("conversations", accountId, STUCK_AFTER_MS, now()) : {},
      );
    return { waiting: accounts.length, stuck: accounts.filter((account) => account.isStuck).length };
  },
});
