import { z } from "zod";
import { ensurePartitions } from "../db/queries/partitions.js";
import { defineJob } from "./define-job.js";

/**
 * Makes the monthly partitions of the events ahead of time. Idempotent, guarded by an advisory lock. Cost: a look at
 * the catalog, once an hour.
 */
export const maintainPartitions = defineJob({
  kind: "partitions.maintain",
  queue: "maintenance",
  payload: z.strictObject({}),
  timeoutMs: 60_000,
  schedule: { cron: "0 7 * * * *", payload: {} },
  async run(_payload, { db, now }) {
    return ensurePartitions(db, now());
  },
});
