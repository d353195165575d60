import { sql } from "kysely";
import type { Retention } from "../../analytics/retention.js";
import type { Db } from "../client.js";
import { type ConversationRules, rebuildConversations } from "../conversations/rebuild.js";
import { longSession } from "../long-session.js";
import { conversationChunkSql } from "./conversations.js";
import { removeEvents, removeLeftovers } from "./events.js";
import { daysBefore, raiseFloors } from "./floors.js";
import { retireChunk } from "./freeze.js";
import { foldToTheEnd, messageChunkStatements } from "./messages.js";
import { addUpOldDays, removeQuarters } from "./rollups.js";

export interface Retained {
  /** False: there is more to do than fitted. */
  done: boolean;
  messages: number;
  conversations: number;
  events: number;
}

export interface RetainOptions {
  retention: Retention;
  now: Date;
  signal: AbortSignal;
  /** Whether there is time for another chunk. */
  hasTime: () => boolean;
  /** The events of these months go with their whole partition, soon. */
  leaveMonthsToPartitions: boolean;
  /** Rows that go in one transaction: well under a second of the fold lock. */
  chunkRows?: number;
  /** How the account's chats are read: what waits for that is read before floors rise, else nobody would any more. */
  rules?: ConversationRules | undefined;
}

const CHUNK_ROWS = 1_000;
/** Stretches of chats read in one transaction. */
const STRETCHES = 100;

/** One chunk; how many rows it took, 0 when nothing is left. */
export type Chunk = () => Promise<number>;

/**
 * Removes what an account no longer keeps. Floors rise first, then what lies below goes in chunks, each a transaction that
 * leaves everything in step: killed between any two, the next call goes on. Repairs of the account and this take turns.
 */
export async function retainAccount(db: Db, accountId: string, options: RetainOptions): Promise<Retained> {
  return longSession(db, options.signal, async (session) => {
    const key = `repair ${accountId}`;
    await sql`select pg_advisory_lock(hashtextextended(${key}, 0))`.execute(session);
    try {
      return await retain(session, accountId, options);
    } finally {
      await sql`select pg_advisory_unlock(hashtextextended(${key}, 0))`.execute(session);
    }
  });
}

async function retain(session: Db, accountId: string, options: RetainOptions): Promise<Retained> {
  const { retention, now, signal, hasTime, chunkRows = CHUNK_ROWS } = options;
  const retained: Retained = { done: false, messages: 0, conversations: 0, events: 0 };
  const all = async (chunk: Chunk, count: (rows: number) => void = () => {}): Promise<boolean> => {
    for (;;) {
      signal.throwIfAborted();
      if (!hasTime()) return false;
      const rows = await chunk();
      if (rows === 0) return true;
      count(rows);
    }
  };
  await foldToTheEnd(session, accountId, signal);
  const { rules } = options;
  const isRead =
    !rules ||
    (await all(async () => {
      const { stretches } = await rebuildConversations(session, accountId, rules, { limit: STRETCHES });
      return stretches;
    }));
  if (!isRead) return retained;
  await raiseFloors(session, accountId, retention, now);
  const eventsBefore = daysBefore(now, retention.events_days);
  retained.done =
    (await all(() => removeQuarters(session, accountId, chunkRows))) &&
    (await all(
      () => retireChunk(session, accountId, messageChunkStatements, chunkRows),
      (rows) => {
        retained.messages += rows;
      },
    )) &&
    (await all(
      () => retireChunk(session, accountId, [conversationChunkSql], chunkRows),
      (rows) => {
        retained.conversations += rows;
      },
    )) &&
    (await all(() => addUpOldDays(session, accountId, retention.days_days, now))) &&
    (await all(
      () => removeEvents(session, accountId, eventsBefore, options.leaveMonthsToPartitions, chunkRows),
      (rows) => {
        retained.events += rows;
      },
    )) &&
    (await all(() => removeLeftovers(session, accountId, eventsBefore, now, chunkRows)));
  if (retained.done)
    await sql`update accounts set retained_at = ${now} where account_id = ${accountId}`.execute(session);
  return retained;
}
