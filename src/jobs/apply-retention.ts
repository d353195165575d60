import { z } from "zod";
import { defaultRetention, effectiveRetention } from "../analytics/retention.js";
import { longestEventsDays } from "../db/queries/account-retention.js";
import { findConfiguredAccount } from "../db/queries/accounts.js";
import { retainAccount } from "../db/retention/retain-account.js";
import { defineJob } from "./define-job.js";
import { rulesOf } from "./rebuild-conversations.js";

/** After this long an account makes room for others and comes back. */
const TURN_MS = 5 * 60_000;
/** Events that outlive those of every other account by less go with the partition of their month. */
const MONTH_DAYS = 31;

/**
 * Removes what an account no longer keeps: quarters, messages and conversations (their contributions stay), days, events.
 * Idempotent: each chunk is a transaction of its own that leaves everything in step; killed anywhere, the next one goes
 * on. Cost: index ranges of what goes. Concurrency: takes turns with repairs of the account; a chunk holds the fold lock
 * for well under a second.
 */
export const applyRetention = defineJob({
  kind: "retention.apply",
  queue: "aggregation",
  payload: z.strictObject({ accountId: z.string() }),
  timeoutMs: 30 * 60_000,
  dedupe: (payload) => payload.accountId,
  async run({ accountId }, { db, signal, now, enqueue }) {
    const account = await findConfiguredAccount(db, accountId);
    if (!account) return { skipped: "no such account" };
    const retention = effectiveRetention(account.retention);
    const longest = await longestEventsDays(db, defaultRetention.events_days);
    const stopAt = now().getTime() + TURN_MS;
    const { done, messages, conversations, events } = await retainAccount(db, accountId, {
      retention,
      now: now(),
      signal,
      hasTime: () => now().getTime() < stopAt,
      leaveMonthsToPartitions: longest - retention.events_days < MONTH_DAYS,
      rules: rulesOf(account),
    });
    if (!done) await enqueue(applyRetention, { accountId });
    return { done, messages, conversations, events };
  },
});
