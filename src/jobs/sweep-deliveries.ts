import { z } from "zod";
import { deleteEndedDeliveries } from "../db/queries/deliveries.js";
import { defineJob } from "./define-job.js";

/** How long the list of deliveries, and the addresses in it, are kept after their end. */
const KEPT_MS = 90 * 24 * 3_600_000;
const BATCH = 5_000;

/** Forgets deliveries that ended long ago. Idempotent; killed anywhere it goes on at the next fire. One range of an index. */
export const sweepDeliveries = defineJob({
  kind: "deliveries.sweep",
  queue: "maintenance",
  payload: z.strictObject({}),
  timeoutMs: 5 * 60_000,
  schedule: { cron: "40 23 * * * *", payload: {} },
  async run(_payload, { db, signal, now }) {
    const before = new Date(now().getTime() - KEPT_MS);
    let deleted = 0;
    for (;;) {
      signal.throwIfAborted();
      const count = await deleteEndedDeliveries(db, before, BATCH);
      deleted += count;
      if (count < BATCH) return { deleted };
    }
  },
});
