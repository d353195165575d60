import { type Kysely, sql } from "kysely";

/**
 * What an account keeps for how long, and what is left of what it no longer keeps: contributions of removed messages and
 * conversations in the frozen rollups, digests of their ids, and the events that came too late for them.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
-- retention: only what was set. The floors only rise: messages and events before them are gone, days are added up.
alter table accounts
  add column retention jsonb not null default '{}',
  add column messages_from timestamptz,
  add column events_from timestamptz,
  add column days_from date,
  add column retained_at timestamptz;
create index accounts_by_retention on accounts (coalesce(retained_at, created_at));

alter table fold_watermarks
  add column late_after_retention bigint not null default 0,
  add column drift_checked_at timestamptz;
create index fold_watermarks_by_check on fold_watermarks (drift_checked_at nulls first);

create index account_zones_retired on account_zones (account_id) where retired_at is not null;

create index preference_changes_by_time on preference_changes (account_id, occurred_at);

create table rollups_frozen (like rollups including all);
create table daily_rollups_frozen (like daily_rollups including all);
create table conversation_rollups_frozen (like conversation_rollups including all);
create table daily_conversation_rollups_frozen (like daily_conversation_rollups including all);

create table retired_messages (
  account_id text not null,
  id uuid not null,
  retired_at timestamptz not null default now(),
  primary key (account_id, id)
);
create index retired_messages_by_age on retired_messages (account_id, retired_at);

create table late_events (
  account_id text not null,
  event_key uuid not null,
  occurred_at timestamptz not null,
  primary key (account_id, event_key)
);
create index late_events_by_age on late_events (account_id, occurred_at);
`)
    .execute(db);
}
