import { CompiledQuery, type RawBuilder, sql, type Transaction } from "kysely";
import type { OpenHoursArrays } from "../../analytics/business-hours.js";
import type { Db } from "../client.js";
import {
  lockWatermark,
  noteUnsettled,
  preferHashes,
  preferIndexes,
  raiseVersion,
} from "../fold/fold-account.js";
import type { Database } from "../schema.js";
import { attributionSql } from "./attribution-statement.js";
import { rebuildSql } from "./conversation-statement.js";

/** What an account's conversations depend on. */
export interface ConversationRules {
  gapMs: number;
  replyWindowMs: number;
  slaMs: number;
  /** The open hours between two instants in ms; undefined where none are set. */
  openHours: ((fromMs: number, toMs: number) => OpenHoursArrays) | undefined;
}

export interface RebuiltBatch {
  stretches: number;
  /** Messages read. */
  messages: number;
  /** Conversations that are new or have changed. */
  conversations: number;
}

export interface Stretch {
  chat_key: string;
  /** null: none of its messages is known. */
  chat_id: string | null;
  channel_id: string | null;
  from_at: Date;
  to_at: Date;
  /** Where conversations are read from: after those that began before the account's floor. May lie behind the end. */
  read_from: Date;
}

/**
 * Takes at most `limit` marks of an account and reads their chats anew, in one transaction under the account's fold
 * lock. Harmless to repeat: what has not changed is not written. Killed midway, the marks are still there.
 */
export async function rebuildConversations(
  db: Db,
  accountId: string,
  rules: ConversationRules,
  { limit }: { limit: number },
): Promise<RebuiltBatch> {
  return db.transaction().execute(async (trx) => {
    await lockWatermark(trx, accountId);
    await preferIndexes(trx);
    const { rows: stretches } = await takeMarks(accountId, rules.gapMs, limit).execute(trx);
    if (stretches.length === 0) return { stretches: 0, messages: 0, conversations: 0 };
    return rebuildStretches(trx, accountId, rules, stretches);
  });
}

/**
 * Reads these stretches anew, whatever is marked: each lies in a month, and no conversation lies across its ends. Of what is
 * kept as it is nothing is read, but its live messages may have been answered since. The caller prefers indexes.
 */
export async function rebuildStretches(
  trx: Transaction<Database>,
  accountId: string,
  rules: ConversationRules,
  stretches: readonly Stretch[],
): Promise<RebuiltBatch> {
  await preferHashes(trx);
  const rebuilt = await trx.executeQuery<{ messages: number; conversations: number; deltas: number }>(
    CompiledQuery.raw(rebuildSql, freshParameters(accountId, rules, stretches.filter(isRead))),
  );
  await sql`set local enable_nestloop = on`.execute(trx);
  const attributed = await trx.executeQuery<{ deltas: number }>(
    CompiledQuery.raw(attributionSql, attributedParameters(accountId, rules, stretches)),
  );
  await raiseVersion(trx, accountId);
  const { messages, conversations, deltas } = rebuilt.rows[0]!;
  await noteUnsettled(trx, accountId, deltas + attributed.rows[0]!.deltas);
  return { stretches: stretches.length, messages, conversations };
}

/** Whether anything of a stretch may be read anew. */
export const isRead = (stretch: Stretch): boolean => stretch.read_from <= stretch.to_at;

/** Of `freshSql`. */
export function freshParameters(
  accountId: string,
  rules: ConversationRules,
  stretches: readonly Stretch[],
): unknown[] {
  const [from, to] = [stretches.map((one) => one.read_from), stretches.map((one) => one.to_at)];
  const hours =
    stretches.length > 0
      ? rules.openHours?.(
          Math.min(...from.map((one) => one.getTime())),
          Math.max(...to.map((one) => one.getTime())) + 1,
        )
      : undefined;
  return [
    accountId,
    stretches.map((one) => one.chat_key),
    from,
    to,
    rules.gapMs,
    rules.replyWindowMs,
    rules.slaMs,
    hours?.starts ?? null,
    hours?.lengthsMs ?? null,
    hours?.cumulativeMs ?? null,
    stretches.map((one) => one.chat_id),
    stretches.map((one) => one.channel_id),
  ];
}

/** Of `attributedSql`. */
export const attributedParameters = (
  accountId: string,
  rules: ConversationRules,
  stretches: readonly Stretch[],
): unknown[] => [
  accountId,
  stretches.map((one) => one.from_at),
  stretches.map((one) => one.to_at),
  stretches.map((one) => one.chat_id),
  stretches.map((one) => one.channel_id),
  rules.replyWindowMs,
];

/**
 * Removes the oldest marks and widens them to the conversations that they touch: those are read whole. Marks that somebody
 * is just writing are left for the next time: whoever marks all chats takes them in another order, and folds would wait too.
 * A conversation that began before the account's floor cannot be read whole, since retention has taken its beginning; it
 * stays as it is, and what is read begins after it.
 */
export const takeMarks = (
  accountId: string,
  gapMs: number,
  limit: number,
): RawBuilder<Stretch> => sql<Stretch>`
    with floor as (
      select coalesce(messages_from, '-infinity') as floor from accounts where account_id = ${accountId}
    ),
    taken as (
      delete from conversation_marks m
      where account_id = ${accountId} and ctid = any(array(
        select ctid from conversation_marks
        where account_id = ${accountId} order by counted_to, marked_at, chat_key, month limit ${limit}
        for update skip locked
      ))
      returning m.chat_key, m.chat_id, m.channel_id, m.from_at, m.to_at,
                m.month::timestamp at time zone 'UTC' as month_from,
                (m.month + interval '1 month') at time zone 'UTC' as month_to
    )
    select t.chat_key, t.chat_id, t.channel_id,
           least(t.from_at, touched.started_at) as from_at, greatest(t.to_at, touched.ended_at) as to_at,
           greatest(least(t.from_at, touched.started_at), kept.ended_at + interval '1 millisecond') as read_from
    from floor cross join taken t cross join lateral (
      select min(c.started_at) as started_at, max(c.ended_at) as ended_at
      from conversations c
      where c.account_id = ${accountId} and c.chat_key = t.chat_key
        and c.started_at >= greatest(t.month_from, floor) and c.started_at < t.month_to
        and c.started_at <= t.to_at + ${gapMs}::float8 * interval '1 millisecond'
        and c.ended_at >= t.from_at - ${gapMs}::float8 * interval '1 millisecond'
    ) touched
    left join lateral (
      select c.ended_at from conversations c
      where c.account_id = ${accountId} and c.chat_key = t.chat_key and c.started_at < floor
      order by c.started_at desc limit 1
    ) kept on true`;
