import { z } from "zod";
import { laggingAccounts } from "../db/queries/accounts.js";
import { defineJob } from "./define-job.js";
import { foldEvents } from "./fold-events.js";
import { ownJob } from "./own-job.js";

/** Accounts woken per tick; the rest is found by the next one. */
const ACCOUNTS_PER_TICK = 500;
/** An account behind for so long gets a fold of its own, at most one per this time. */
const STUCK_AFTER_MS = 30_000;

/**
 * Wakes the fold of every account that has events after its watermark: those whose wake-up from the API got lost, and
 * those that had to wait for a transaction elsewhere. A fold too many finds nothing to do. Idempotent. Cost: one index
 * probe per account and partition.
 */
export const findLag = defineJob({
  kind: "folds.find-lag",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 30_000,
  schedule: { cron: "*/5 * * * * *", payload: {} },
  async run(_payload, { db, enqueue, now }) {
    const accounts = await laggingAccounts(db, { stuckAfterMs: STUCK_AFTER_MS, limit: ACCOUNTS_PER_TICK });
    for (const { accountId, isStuck } of accounts)
      await enqueue(
        foldEvents,
        { accountId },
        isStuck ? ownJob("fold", accountId, STUCK_AFTER_MS, now()) : {},
      );
    return { lagging: accounts.length, stuck: accounts.filter((account) => account.isStuck).length };
  },
});
