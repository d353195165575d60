import { type Kysely, sql } from "kysely";

/**
 * Settings and timelines.
 *
 * What an account decides about its conversations. Only what was set is stored: defaults are in
 * `src/analytics/account-settings.ts`. The version rises when what counts becomes another, so that whoever has computed
 * by the settings knows when to do it again.
 *
 * The index finds the messages of a conversation in order. It ends before message_id: three ids of the greatest length
 * would not fit into an entry, and one such event would then stop every fold of its account.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
alter table accounts
  add column settings jsonb not null default '{}',
  add column settings_version integer not null default 1;

create index messages_by_chat on messages (account_id, coalesce(chat_id, contact_id), anchor_at);
`)
    .execute(db);
}
