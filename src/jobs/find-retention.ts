import { z } from "zod";
import { accountsToRetain } from "../db/queries/account-retention.js";
import { applyRetention } from "./apply-retention.js";
import { defineJob } from "./define-job.js";

const EVERY_MS = 24 * 60 * 60_000;
const ACCOUNTS_PER_TICK = 200;

/**
 * Asks for the retention of accounts that had none for a day, the longest ago first. A new account has a day as well, for
 * its settings. Idempotent. Cost: one short index range.
 */
export const findRetention = defineJob({
  kind: "retention.find",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 60_000,
  schedule: { cron: "50 */10 * * * *", payload: {} },
  async run(_payload, { db, enqueue }) {
    const accounts = await accountsToRetain(db, EVERY_MS, ACCOUNTS_PER_TICK);
    for (const accountId of accounts) await enqueue(applyRetention, { accountId });
    return { asked: accounts.length };
  },
});
