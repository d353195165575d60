import { z } from "zod";
import { dueTargets } from "../db/queries/deliveries.js";
import { defineJob } from "./define-job.js";
import { accountKey } from "./find-lag.js";
import { sendDeliveries } from "./send-deliveries.js";

/** Due for so long, a target gets a job of its own, at most one per this time. */
const STUCK_AFTER_MS = 30_000;

/**
 * Asks for the sending of whatever is due: retries whose pause is over, attempts whose worker died, and deliveries that
 * nobody could enqueue. When something is due is known by its row alone, so a queue that was lost loses nothing. Where it
 * has been due for long it does not trust the dedupe key either: the key of a job that the queue has lost would refuse a new
 * one for ever. Idempotent. Cost: what is due of a partial index.
 */
export const findDueDeliveries = defineJob({
  kind: "deliveries.find-due",
  queue: "maintenance",
  payload: z.strictObject({}),
  attempts: 1,
  timeoutMs: 30_000,
  schedule: { cron: "*/5 * * * * *", payload: {} },
  async run(_payload, { db, enqueue, now }) {
    const targets = await dueTargets(db, STUCK_AFTER_MS);
    const slot = Math.floor(now().getTime() / STUCK_AFTER_MS);
    for (const { accountId, endpointId, isStuck } of targets)
      await enqueue(
        sendDeliveries,
        { accountId, endpointId },
        isStuck
          ? { dedupe: false, id: `deliver-${accountKey(accountId)}-${endpointId ?? "mail"}-${slot}` }
          : {},
      );
    return { due: targets.length, stuck: targets.filter((target) => target.isStuck).length };
  },
});
