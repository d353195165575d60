import { z } from "zod";
import { buildWantedZone } from "../db/rollups/zones.js";
import { defineJob } from "./define-job.js";

/** Zones built by one job: each may have been replaced by a newer wish while it was being built. */
const ZONES_PER_JOB = 10;

/**
 * Builds the days of the zone that an account wants, then switches the account to it. Idempotent: killed anywhere, the
 * next one finds what is missing and goes on; of several wishes the newest wins. Cost: reads every message of the account
 * once; the fold lock is held for a piece of the new rows at a time.
 */
export const buildZone = defineJob({
  kind: "zones.build",
  queue: "aggregation",
  payload: z.strictObject({ accountId: z.string() }),
  timeoutMs: 60 * 60_000,
  dedupe: (payload) => payload.accountId,
  async run({ accountId }, { db, signal }) {
    let built = 0;
    for (let turn = 0; turn < ZONES_PER_JOB; turn++) {
      const outcome = await buildWantedZone(db, accountId, signal);
      if (outcome === "nothing") break;
      if (outcome === "built") built++;
    }
    return { built };
  },
});
