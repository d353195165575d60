import { z } from "zod";
import { effectiveSettings } from "../analytics/account-settings.js";
import { openHoursArrays, openIntervals } from "../analytics/business-hours.js";
import { markAllConversations } from "../db/conversations/marks.js";
import { type ConversationRules, rebuildConversations } from "../db/conversations/rebuild.js";
import { type ConfiguredAccountRow, findConfiguredAccount } from "../db/queries/accounts.js";
import { analyzeGrown } from "../db/statistics.js";
import { defineJob } from "./define-job.js";

/** Messages that a batch should come to: about half a second of the account's fold lock. */
const MESSAGES_PER_BATCH = 5_000;
/** Stretches of chats in a batch: at first, and at most, however few messages they have. */
const FIRST_STRETCHES = 100;
const MAX_STRETCHES = 500;
/** After this long an account makes room for others and comes back. */
const TURN_MS = 20_000;
const HOUR_MS = 3_600_000;

/**
 * Reads anew the stretches of chats that folds have marked, and puts the difference into conversations, rollups and
 * flows. When the account's settings have changed, all its chats are marked first. Idempotent: marks stand until the
 * transaction that has read them commits. Cost: the messages of the stretches; a batch is a month of one chat at least.
 * Concurrency: takes the fold lock of the account for each batch, and gives its place up after a while.
 */
export const rebuildConversationsJob = defineJob({
  kind: "conversations.rebuild",
  queue: "aggregation",
  payload: z.strictObject({ accountId: z.string() }),
  attempts: 8,
  timeoutMs: 10 * 60_000,
  dedupe: (payload) => payload.accountId,
  async run({ accountId }, { db, signal, enqueue, now }) {
    const giveWayAt = now().getTime() + TURN_MS;
    const done = { stretches: 0, messages: 0, conversations: 0 };
    let limit = FIRST_STRETCHES;
    for (;;) {
      signal.throwIfAborted();
      const account = await findConfiguredAccount(db, accountId);
      if (!account) return done;
      if (account.conversations_version !== account.settings_version)
        await markAllConversations(db, accountId, account.settings_version, signal);
      const batch = await rebuildConversations(db, accountId, rulesOf(account), { limit });
      done.stretches += batch.stretches;
      done.messages += batch.messages;
      done.conversations += batch.conversations;
      await analyzeGrown(db, batch.messages);
      if (batch.stretches < limit) return done;
      limit = nextLimit(limit, batch.messages);
      if (now().getTime() > giveWayAt) {
        await enqueue(rebuildConversationsJob, { accountId });
        return { ...done, unfinished: true };
      }
    }
  },
});

/** Chats differ by orders of magnitude, so the next batch is sized by the last one. */
function nextLimit(limit: number, messages: number): number {
  const fitting = Math.round((limit * MESSAGES_PER_BATCH) / Math.max(1, messages));
  return Math.min(MAX_STRETCHES, Math.max(1, fitting));
}

export function rulesOf(account: ConfiguredAccountRow): ConversationRules {
  const settings = effectiveSettings(account.settings, account.time_zone);
  const { calendar } = settings;
  return {
    gapMs: settings.session_gap_hours * HOUR_MS,
    replyWindowMs: settings.reply_window_hours * HOUR_MS,
    slaMs: settings.sla_seconds * 1_000,
    openHours: calendar
      ? (fromMs, toMs) => openHoursArrays(openIntervals(calendar, fromMs, toMs))
      : undefined,
  };
}
