import { type Kysely, sql } from "kysely";

/**
 * Schedules, what became of each of their slots, and which run is whose. `look_at` is when the firing step has to look: at
 * the next slot, or sooner while slots stand in line. New columns are nullable; the indexes of runs start out empty.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create type schedule_status as enum ('active', 'paused', 'disabled');
create type catch_up as enum ('none', 'last', 'all');
create type overlap as enum ('skip', 'queue');
create type slot_trigger as enum ('schedule', 'manual');
create type slot_outcome as enum ('queued', 'waiting', 'skipped_overlap', 'missed', 'cancelled');

create table schedules (
  account_id text not null,
  schedule_id uuid not null default gen_random_uuid(),
  name text not null,
  cron text not null,
  time_zone text not null,
  kind run_kind not null,
  request jsonb not null,
  range text not null,
  catch_up catch_up not null,
  overlap overlap not null,
  status schedule_status not null,
  -- runs that failed before are not held against it
  enabled_at timestamptz not null,
  disabled jsonb,
  next_fire_at timestamptz,
  look_at timestamptz,
  requested_by text not null,
  version integer not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (account_id, schedule_id)
);
create unique index schedules_by_id on schedules (schedule_id);
create index schedules_by_account on schedules (account_id, created_at, schedule_id);
create index schedules_due on schedules (look_at) where look_at is not null;

create table schedule_slots (
  account_id text not null,
  schedule_id uuid not null,
  fire_at timestamptz not null,
  trigger slot_trigger not null default 'schedule',
  outcome slot_outcome not null,
  reason text,
  range_from timestamptz not null,
  range_to timestamptz not null,
  run_id uuid,
  created_at timestamptz not null,
  primary key (account_id, schedule_id, fire_at)
);
create index schedule_slots_waiting on schedule_slots (account_id, schedule_id, fire_at) where outcome = 'waiting';
create index schedule_slots_by_age on schedule_slots (created_at);

alter table runs add column schedule_id uuid;
create index runs_open_of_schedules on runs (account_id, schedule_id)
  where schedule_id is not null and status in ('queued', 'running');
`)
    .execute(db);
}
