import { z } from "zod";
import { accountsToBuild, zonesToRemove } from "../db/queries/account-zones.js";
import { removeZoneRows } from "../db/rollups/zones.js";
import { buildZone } from "./build-zone.js";
import { defineJob } from "./define-job.js";

const ACCOUNTS_PER_TICK = 100;
/** No query that was planned with the old zone runs for so long. */
const KEPT_AFTER_MS = 60 * 60_000;
/** Zones are removed until here; the next fire goes on. */
const TURN_MS = 20_000;

/**
 * Asks for the build of zones that are wanted (after an update of the service, or where nobody heard the wish), and
 * removes the days of zones that another replaced an hour ago. Idempotent: rows go in small batches under the fold lock,
 * the zone with the last of them. Cost: two small partial indexes while there is nothing to do.
 */
export const maintainZones = defineJob({
  kind: "zones.maintain",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 60_000,
  schedule: { cron: "15,45 * * * * *", payload: {} },
  async run(_payload, { db, enqueue, signal, now }) {
    const wanted = await accountsToBuild(db, ACCOUNTS_PER_TICK);
    for (const accountId of wanted) await enqueue(buildZone, { accountId });
    const stopAt = now().getTime() + TURN_MS;
    let removed = 0;
    for (const { accountId, zoneId } of await zonesToRemove(db, {
      retiredMs: KEPT_AFTER_MS,
      limit: ACCOUNTS_PER_TICK,
    })) {
      while (!(await removeZoneRows(db, accountId, zoneId))) {
        signal.throwIfAborted();
        if (now().getTime() > stopAt) return { wanted: wanted.length, removed };
      }
      removed++;
    }
    return { wanted: wanted.length, removed };
  },
});
