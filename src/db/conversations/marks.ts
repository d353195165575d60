import { CompiledQuery, sql } from "kysely";
import type { Db } from "../client.js";
import { longSession } from "../long-session.js";
import { chatKeyOf, chatOf } from "./conversation-statement.js";
import { widenMarkSql } from "./marks-statement.js";

const markAllSql = `
insert into conversation_marks (account_id, chat_key, month, chat_id, channel_id, from_at, to_at, counted_to)
select $1, ${chatKeyOf("m")}, date_trunc('month', m.anchor_at at time zone 'UTC')::date, min(${chatOf("m")}), min(m.channel_id),
       date_trunc('milliseconds', min(m.anchor_at)), date_trunc('milliseconds', max(m.anchor_at)),
       (select settings_changed_at from accounts where account_id = $1)
from messages m
where m.account_id = $1 and m.anchor_at is not null and ${chatOf("m")} is not null
group by 2, 3
order by 2, 3
${widenMarkSql}`;

/**
 * Marks every chat of an account, for the settings of this version. Reads the account's messages once, without the fold
 * lock: what a fold adds meanwhile it marks itself.
 */
export async function markAllConversations(
  db: Db,
  accountId: string,
  settingsVersion: number,
  signal: AbortSignal,
): Promise<void> {
  await longSession(db, signal, async (session) => {
    await session.transaction().execute(async (trx) => {
      await trx.executeQuery(CompiledQuery.raw(markAllSql, [accountId]));
      await trx
        .updateTable("accounts")
        .set({ conversations_version: settingsVersion })
        .where("account_id", "=", accountId)
        .execute();
    });
  });
}

export interface WaitingAccount {
  accountId: string;
  /** It waits for longer than any rebuild takes. */
  isStuck: boolean;
}

/**
 * Accounts whose chats wait to be read although nothing holds them up: marks older than `staleAfterMs` with all events
 * folded since, marks older than `stuckAfterMs` in any case, and settings that are newer than the conversations. At most
 * `limit` of each kind, those that have waited longest first; of settings, which have no age, any. One index probe an
 * account.
 */
export async function accountsToRebuild(
  db: Db,
  options: { staleAfterMs: number; stuckAfterMs: number; limit: number },
): Promise<WaitingAccount[]> {
  const before = (ms: number) => sql`now() - ${ms}::float8 * interval '1 millisecond'`;
  const { rows } = await sql<{ account_id: string; is_stuck: boolean }>`
    select account_id, bool_or(is_stuck) as is_stuck
    from (
      (select w.account_id, first.marked_at < ${before(options.stuckAfterMs)} as is_stuck
       from fold_watermarks w
       cross join lateral (
         select m.marked_at from conversation_marks m
         where m.account_id = w.account_id order by m.counted_to, m.marked_at limit 1
       ) first
       where first.marked_at < ${before(options.stuckAfterMs)}
         or first.marked_at < ${before(options.staleAfterMs)} and first.marked_at <= w.folded_at
       order by first.marked_at limit ${options.limit})
      union all
      (select account_id, false from accounts where settings_version <> conversations_version
       order by random() limit ${options.limit})
    ) waiting
    group by account_id
    order by account_id`.execute(db);
  return rows.map((row) => ({ accountId: row.account_id, isStuck: row.is_stuck }));
}
