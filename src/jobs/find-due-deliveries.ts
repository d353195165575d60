import { z } from "zod";
import { dueTargets } from "../db/queries/deliveries.js";
import { defineJob } from "./define-job.js";
import { ownJob } from "./own-job.js";
import { sendDeliveries } from "./send-deliveries.js";

/** Due for so long, a target gets a job of its own, at most one per this time. */
const STUCK_AFTER_MS = 30_000;

/**
 * Asks for the sending of whatever is due: retries whose pause is over, attempts whose worker died, and deliveries that
 * nobody could enqueue. When something is due is known by its row alone, so a queue that was lost loses nothing.
 * Idempotent. Cost: what is due of a partial index.
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
    for (const { accountId, endpointId, isStuck } of targets)
      await enqueue(
        sendDeliveries,
        { accountId, endpointId },
        isStuck ? ownJob(`deliver-${endpointId ?? "mail"}`, accountId, STUCK_AFTER_MS, now()) : {},
      );
    return { due: targets.length, stuck: targets.filter((target) => target.isStuck).length };
  },
});
