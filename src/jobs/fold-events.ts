import { z } from "zod";
import { foldBatch, type Position } from "../db/fold/fold-account.js";
import { settleRollups } from "../db/rollups/settle.js";
import { analyzeGrown } from "../db/statistics.js";
import { defineJob } from "./define-job.js";
import { rebuildConversationsJob } from "./rebuild-conversations.js";
import { SETTLE_ABOVE_ROWS, settleRollupsJob } from "./settle-rollups.js";

/** How long a chat may go on before its conversations are read. */
const DEBOUNCE_MS = 1_000;
/** So many rows wait to be settled only where nobody else does it: then they come before more of them. */
const MOST_UNSETTLED_ROWS = 100_000;
/** After this long an account makes room for others and comes back; a fold's batch itself takes well under a second. */
const TURN_MS = 20_000;

/**
 * Folds one account's new events into messages and rollups, batch by batch, until it has caught up. Idempotent:
 * merging the same events again changes nothing. Cost: grows with the new events only. Concurrency: one fold per
 * account at a time (its watermark row is locked for each batch), any number of accounts beside each other.
 */
export const foldEvents = defineJob({
  kind: "events.fold",
  queue: "aggregation",
  payload: z.strictObject({ accountId: z.string() }),
  attempts: 8,
  backoff: { type: "exponential", delayMs: 500 },
  timeoutMs: 120_000,
  dedupe: (payload) => payload.accountId,
  async run({ accountId }, { db, signal, settings, enqueue, now }) {
    const giveWayAt = now().getTime() + TURN_MS;
    let after: Position | undefined;
    let events = 0;
    let messages = 0;
    let marks = 0;
    for (;;) {
      signal.throwIfAborted();
      const batch = await foldBatch(db, accountId, { after, limit: settings.foldBatchSize });
      events += batch.events;
      messages += batch.messages;
      marks += batch.marks;
      after = batch.position;
      await analyzeGrown(db, batch.messages);
      if (batch.unsettled > SETTLE_ABOVE_ROWS) await enqueue(settleRollupsJob, { accountId });
      if (batch.unsettled > MOST_UNSETTLED_ROWS) await settleRollups(db, accountId, signal);
      if (batch.caughtUp) {
        // Once everything is folded: a backfill in any order then reads each chat once.
        if (marks > 0) await enqueue(rebuildConversationsJob, { accountId }, { delayMs: DEBOUNCE_MS });
        return { events, messages };
      }
      if (now().getTime() > giveWayAt) {
        await enqueue(foldEvents, { accountId });
        return { events, messages, unfinished: true };
      }
    }
  },
});
