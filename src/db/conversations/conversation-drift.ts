import { CompiledQuery, sql, type Transaction } from "kysely";
import type { Db } from "../client.js";
import { lockWatermark, preferHashes, preferIndexes } from "../fold/fold-account.js";
import { longSession } from "../long-session.js";
import { type ConfiguredAccountRow, findConfiguredAccount } from "../queries/accounts.js";
import type { Database } from "../schema.js";
import {
  type ChatMonth,
  type ChatMonths,
  type Cursor,
  type Found,
  findByConversations,
  findByMessages,
  findByTurns,
  type MonthRange,
  stretchesOf,
} from "./chat-months.js";
import { compareAnswersSql, compareSql } from "./compare-statement.js";
import {
  attributedParameters,
  type ConversationRules,
  freshParameters,
  isRead,
  rebuildStretches,
  type Stretch,
} from "./rebuild.js";

/** Messages, or rows of conversations and turns, looked at by one statement: a fraction of a second. */
const CHUNK_ROWS = 5_000;
/** Messages and stretches read anew under one lock: about half a second, where all differ. A month of a chat may have more. */
const BATCH_MESSAGES = 2_000;
const BATCH_STRETCHES = 200;

export interface ConversationDrift {
  /** Conversations, turns and times of answers that are not what the messages say. */
  rows: number;
}

export interface ConversationScope extends MonthRange {
  rulesOf: (account: ConfiguredAccountRow) => ConversationRules;
  chunkRows?: number;
}

/** Called with the number of messages read. */
type OnRead = (messages: number) => void;
type Work = (
  db: Db,
  accountId: string,
  scope: ConversationScope,
  signal: AbortSignal,
  onRead?: OnRead,
) => Promise<ConversationDrift>;

/**
 * Reads the chats of an account anew, some months of some chats at a time, and counts what is stored otherwise. Each few are
 * read in a snapshot of their own, without a lock. What is marked waits and is no difference; when all waits, since the
 * settings have changed, nothing is compared.
 */
export const measureConversationDrift: Work = (db, accountId, scope, signal, onRead) =>
  longSession(db, signal, (session) => walk(session, accountId, { scope, signal, onRead }));

/**
 * The same, and rebuilds the months of chats that differ, under the fold lock for a batch of messages. Killed anywhere, the
 * next one goes on. Repairs of one account run one after the other.
 */
export const repairConversationDrift: Work = (db, accountId, scope, signal, onRead) =>
  longSession(db, signal, async (session) => {
    const key = `repair ${accountId}`;
    await sql`select pg_advisory_lock(hashtextextended(${key}, 0))`.execute(session);
    try {
      return await walk(session, accountId, { scope, signal, onRead, repairs: true });
    } finally {
      await sql`select pg_advisory_unlock(hashtextextended(${key}, 0))`.execute(session);
    }
  });

interface Walk {
  scope: ConversationScope;
  signal: AbortSignal;
  onRead?: OnRead | undefined;
  repairs?: boolean;
}

const nameOf = ({ chat_key, month }: ChatMonth) => `${chat_key} ${month.getTime()}`;

async function walk(session: Db, accountId: string, options: Walk): Promise<ConversationDrift> {
  const { scope, signal, onRead, repairs } = options;
  const account = await findConfiguredAccount(session, accountId);
  const drift = { rows: 0 };
  if (!account) return drift;
  const rules = scope.rulesOf(account);
  const met = new Set<string>();
  let read = 0;
  // What has no messages is found by itself; what has some has been compared by then.
  for (const find of [findByMessages, findByConversations, findByTurns])
    for (let cursor: Cursor | null | undefined = null; cursor !== undefined; ) {
      signal.throwIfAborted();
      const after: Cursor | null = cursor;
      const findNext = (trx: Transaction<Database>): Promise<ChatMonths> =>
        find(trx, accountId, scope, after, scope.chunkRows ?? CHUNK_ROWS);
      const chunk: CompareResult | undefined = await inSnapshot(session, account, async (trx) => {
        const { months, rows, next } = await findNext(trx);
        const unmet = months.filter((one) => !met.has(nameOf(one)));
        return { rows, next, differing: await compare(trx, accountId, rules, scope, unmet) };
      });
      if (!chunk) return drift;
      for (const { month, rows } of chunk.differing) {
        drift.rows += rows;
        met.add(nameOf(month));
      }
      if (repairs)
        for (const months of inBatches(chunk.differing.map(({ month }) => month))) {
          signal.throwIfAborted();
          await repair(session, account, rules, months, find === findByMessages ? undefined : findNext);
        }
      if (find === findByMessages) {
        read += chunk.rows;
        onRead?.(read);
      }
      cursor = chunk.next;
    }
  return drift;
}

interface CompareResult extends Omit<ChatMonths, "months"> {
  differing: { month: ChatMonth; rows: number }[];
}

/** Nothing happens when the account has other settings by now, or conversations of other ones. */
const inSnapshot = <T>(
  session: Db,
  account: ConfiguredAccountRow,
  work: (trx: Transaction<Database>) => Promise<T>,
): Promise<T | undefined> =>
  session
    .transaction()
    .setIsolationLevel("repeatable read")
    .setAccessMode("read only")
    .execute(async (trx) => {
      await preferIndexes(trx);
      return (await isReadBy(trx, account)) ? work(trx) : undefined;
    });

/** Whether conversations are those of these settings. */
async function isReadBy(db: Db, account: ConfiguredAccountRow): Promise<boolean> {
  const { rows } = await sql`
    select from accounts
    where account_id = ${account.account_id} and settings_version = ${account.settings_version}
      and conversations_version = settings_version`.execute(db);
  return rows.length > 0;
}

/** The months in which anything differs, and how many rows do. */
async function compare(
  trx: Transaction<Database>,
  accountId: string,
  rules: ConversationRules,
  { from, to }: MonthRange,
  months: readonly ChatMonth[],
): Promise<{ month: ChatMonth; rows: number }[]> {
  const stretches = await stretchesOf(trx, accountId, months);
  if (stretches.length === 0) return [];
  const range = [from ?? "-infinity", to ?? "infinity"];
  const counts = new Map<Found, number>();
  const count = async (text: string, parameters: unknown[], of: readonly Found[]) => {
    const query = CompiledQuery.raw(text, [...parameters, ...range]);
    for (const { n, rows } of (await trx.executeQuery<{ n: number; rows: number }>(query)).rows)
      counts.set(of[n - 1]!, (counts.get(of[n - 1]!) ?? 0) + rows);
  };
  const read = stretches.filter(isRead);
  // As in a rebuild.
  await preferHashes(trx);
  await count(compareSql, freshParameters(accountId, rules, read), read);
  await sql`set local enable_nestloop = on`.execute(trx);
  const keys = stretches.map((one) => one.chat_key);
  await count(compareAnswersSql, [...attributedParameters(accountId, rules, stretches), keys], stretches);
  return [...counts].map(([month, rows]) => ({ month, rows }));
}

function* inBatches(months: readonly ChatMonth[]): Generator<ChatMonth[]> {
  let batch: ChatMonth[] = [];
  let messages = 0;
  for (const month of months) {
    if (
      batch.length === BATCH_STRETCHES ||
      (batch.length > 0 && messages + month.messages > BATCH_MESSAGES)
    ) {
      yield batch;
      [batch, messages] = [[], 0];
    }
    batch.push(month);
    messages += month.messages;
  }
  if (batch.length > 0) yield batch;
}

/**
 * Of what has no messages it must still be so under the lock: `findAgain` looks. Whatever has some is read anew from
 * them.
 */
async function repair(
  session: Db,
  account: ConfiguredAccountRow,
  rules: ConversationRules,
  months: readonly ChatMonth[],
  findAgain?: (trx: Transaction<Database>) => Promise<{ months: ChatMonth[] }>,
): Promise<void> {
  const accountId = account.account_id;
  await session.transaction().execute(async (trx) => {
    await lockWatermark(trx, accountId);
    await preferIndexes(trx);
    if (!(await isReadBy(trx, account))) return;
    const again = findAgain && new Set((await findAgain(trx)).months.map(nameOf));
    const still = again ? months.filter((one) => again.has(nameOf(one))) : months;
    const stretches: Stretch[] = await stretchesOf(trx, accountId, still);
    if (stretches.length > 0) await rebuildStretches(trx, accountId, rules, stretches);
  });
}
