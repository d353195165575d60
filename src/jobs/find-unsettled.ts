import { z } from "zod";
import { accountsToSettle } from "../db/rollups/settle.js";
import { defineJob } from "./define-job.js";
import { ownJob } from "./own-job.js";
import { settleRollupsJob } from "./settle-rollups.js";

/** Accounts woken per tick, those that have waited longest; the rest is found by the next one. */
const ACCOUNTS_PER_TICK = 500;
/** Readers add what waits, so it may; the longer, the fewer rows are written in the end. */
const WAITED_MS = 60_000;

/**
 * Wakes the settling of every account whose differences have waited for a minute. One too many finds nothing to
 * do. Idempotent. Cost: one index range over the accounts that wait.
 */
export const findUnsettled = defineJob({
  kind: "rollups.find-unsettled",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 30_000,
  schedule: { cron: "*/15 * * * * *", payload: {} },
  async run(_payload, { db, enqueue, now }) {
    const accounts = await accountsToSettle(db, { waitedMs: WAITED_MS, limit: ACCOUNTS_PER_TICK });
    for (const accountId of accounts)
      await enqueue(settleRollupsJob, { accountId }, ownJob("settle", accountId, WAITED_MS, now()));
    return { waiting: accounts.length };
  },
});
