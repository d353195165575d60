import { type Kysely, sql } from "kysely";

/**
 * What was removed, for those who keep a copy of the messages: they ask for what has changed since a transaction. Events up to
 * `events_removed` and tombstones up to `tombstones_removed` are gone, and with them what they told of changes.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
alter table accounts
  add column events_removed_xid xid8 not null default '0',
  add column events_removed_seq bigint not null default 0,
  add column tombstones_removed_xid xid8 not null default '0';

create table message_tombstones (
  account_id text not null,
  message_id text not null,
  xid xid8 not null default pg_current_xact_id(),
  removed_at timestamptz not null default now(),
  primary key (account_id, xid, message_id)
);
create index message_tombstones_by_age on message_tombstones (account_id, removed_at);
`)
    .execute(db);
}
