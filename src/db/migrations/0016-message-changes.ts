import { type Kysely, sql } from "kysely";

/**
 * Those who keep a copy of the messages are told of more than removals: events that are folded again can change a message, too,
 * whose events they have passed long ago. `reached` is how far an account was folded when its watermark was sent back. A first
 * export of all messages is built in parts, whose cursor outlives the worker that laid them out.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
alter table fold_watermarks
  add column reached_xid xid8 not null default '0',
  add column reached_seq bigint not null default 0;

alter table export_parts add column next_cursor text;

alter table accounts rename column tombstones_removed_xid to message_changes_removed_xid;
alter table message_tombstones rename to message_changes;
alter table message_changes rename column removed_at to changed_at;
alter table message_changes rename constraint message_tombstones_pkey to message_changes_pkey;
alter index message_tombstones_by_age rename to message_changes_by_age;
`)
    .execute(db);
}
