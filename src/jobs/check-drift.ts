import { z } from "zod";
import { nextToCheck } from "../db/queries/drift-checks.js";
import { insertRun } from "../db/queries/runs.js";
import { measureEverything } from "../db/rollups/everything.js";
import { defineJob, type JobContext } from "./define-job.js";
import { rulesOf } from "./rebuild-conversations.js";

/** Every account is due once a day. */
const EVERY_MS = 24 * 60 * 60_000;
/** No further account is begun after this; the next fire goes on with those that wait longest. */
const TURN_MS = 60_000;
/** An account that has asked for so many by itself waits for its repair until the next check. */
const MAX_WAITING = 10_000;

/**
 * Checks what is made of the messages of the accounts whose last check is longest ago, each about once a day. What drifts
 * is logged, and repaired by a run that shows who asked for it. Idempotent: it only reads. Cost: every message of every
 * account three times a day, a minute at a time.
 */
export const checkDrift = defineJob({
  kind: "rollups.check",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 60 * 60_000,
  schedule: { cron: "20 */5 * * * *", payload: {} },
  async run(_payload, context) {
    const { db, signal, now } = context;
    const stopAt = now().getTime() + TURN_MS;
    const counts = { checked: 0, drifted: 0 };
    while (now().getTime() < stopAt) {
      signal.throwIfAborted();
      const accountId = await nextToCheck(db, EVERY_MS);
      if (accountId === undefined) break;
      const { rows } = await measureEverything(db, accountId, { rulesOf }, signal);
      counts.checked++;
      if (rows === 0) continue;
      counts.drifted++;
      await askForRepair(context, accountId, rows);
    }
    return counts;
  },
});

async function askForRepair(
  { db, admit, log }: JobContext,
  accountId: string,
  driftedRows: number,
): Promise<void> {
  const run = await insertRun(db, {
    accountId,
    kind: "aggregation",
    priority: "scheduled",
    params: { account_id: accountId, action: "recompute" },
    requestedBy: "system:drift-check",
    maxWaiting: MAX_WAITING,
  });
  log.warn("numbers differ from their messages; repairing", { accountId, driftedRows, runId: run?.run_id });
  await admit("aggregation", accountId);
}
