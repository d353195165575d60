import { z } from "zod";
import { defaultRetention } from "../analytics/retention.js";
import { longestEventsDays } from "../db/queries/account-retention.js";
import { dropOldPartitions, ensurePartitions } from "../db/queries/partitions.js";
import { defineJob } from "./define-job.js";

const DAY_MS = 24 * 3_600_000;

/**
 * Makes the monthly partitions of the events ahead of time, and drops those that every account has had enough of.
 * Idempotent, guarded by an advisory lock. Cost: a look at the catalog, once an hour; a drop waits a second at most for
 * its lock, while which ingest waits too.
 */
export const maintainPartitions = defineJob({
  kind: "partitions.maintain",
  queue: "maintenance",
  payload: z.strictObject({}),
  timeoutMs: 60_000,
  schedule: { cron: "0 7 * * * *", payload: {} },
  async run(_payload, { db, now }) {
    // First: a drop may have to wait for another fire.
    const { created } = await ensurePartitions(db, now());
    const longest = await longestEventsDays(db, defaultRetention.events_days);
    const { dropped } = await dropOldPartitions(db, new Date(now().getTime() - longest * DAY_MS));
    return { created, dropped };
  },
});
