import type { EnqueueOptions } from "./define-job.js";

/**
 * How an account's work is asked for that has waited too long: past its dedupe key, since that of a job which the queue has lost
 * would refuse a new one for ever, and once in `everyMs` at most.
 */
export const ownJob = (name: string, accountId: string, everyMs: number, now: Date): EnqueueOptions => ({
  dedupe: false,
  // It may not hold a colon.
  id: `${name}-${Buffer.from(accountId).toString("base64url")}-${Math.floor(now.getTime() / everyMs)}`,
});
