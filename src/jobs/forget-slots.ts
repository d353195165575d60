import { z } from "zod";
import { deleteOldSlots } from "../db/queries/schedule-slots.js";
import { defineJob } from "./define-job.js";

/** A year of history and a month to look at it. */
const KEPT_MS = 400 * 24 * 3_600_000;
const BATCH = 5_000;

/**
 * Removes the history of schedules after 400 days. Idempotent; killed anywhere it goes on at the next fire. Cost: an index
 * range, a batch in a transaction.
 */
export const forgetSlots = defineJob({
  kind: "schedules.forget",
  queue: "maintenance",
  payload: z.strictObject({}),
  timeoutMs: 10 * 60_000,
  schedule: { cron: "40 25 * * * *", payload: {} },
  async run(_payload, { db, now, signal }) {
    const before = new Date(now().getTime() - KEPT_MS);
    let slots = 0;
    for (let batch = BATCH; batch === BATCH; slots += batch) {
      signal.throwIfAborted();
      batch = await deleteOldSlots(db, before, BATCH);
    }
    return { slots };
  },
});
