import { z } from "zod";
import { settleRollups } from "../db/rollups/settle.js";
import { defineJob } from "./define-job.js";

/** Readers add up what waits, row by row, so beyond this it is settled at once and not within a minute or so. */
export const SETTLE_ABOVE_ROWS = 10_000;

/**
 * Brings what an account's folds have left for later into its rollups of both grains. Answers are the same before and
 * after, and folds go on meanwhile. Idempotent: what is settled is gone from the list. Cost: grows with what has come
 * since the last time, not with what there is. Concurrency: one at a time per account (a lock per piece).
 */
export const settleRollupsJob = defineJob({
  kind: "rollups.settle",
  queue: "aggregation",
  payload: z.strictObject({ accountId: z.string() }),
  attempts: 8,
  backoff: { type: "exponential", delayMs: 500 },
  timeoutMs: 10 * 60_000,
  dedupe: (payload) => payload.accountId,
  async run({ accountId }, { db, signal }) {
    return { rows: await settleRollups(db, accountId, signal) };
  },
});
