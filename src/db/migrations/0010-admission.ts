import { type Kysely, sql } from "kysely";

/**
 * Runs wait here until they are admitted to the queues. Runs that a queue knows already keep their places. The index of all
 * open runs goes: it held every waiting one, and each of its readers asks about some only.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create type run_priority as enum ('interactive', 'scheduled', 'bulk');

-- turn: the place in the order of admission. eligible: within its account's cap, so it may be admitted, is so or runs.
-- parked_at: since when it is kept out of the queues because it kept killing its workers.
alter table runs
  add column priority run_priority not null default 'interactive',
  add column turn double precision not null default 0,
  add column eligible boolean not null default false,
  add column parked_at timestamptz;
update runs set eligible = true where status in ('queued', 'running');
update runs set enqueued_at = coalesce(enqueued_at, created_at) where status = 'running';

drop index runs_open;
create index runs_admitted on runs (kind, enqueued_at)
  where status in ('queued', 'running') and enqueued_at is not null;
create index runs_eligible on runs (account_id, kind) where status in ('queued', 'running') and eligible;
create index runs_next on runs (kind, turn, created_at, run_id)
  where status = 'queued' and enqueued_at is null and eligible;
create index runs_waiting on runs (kind, turn, created_at, run_id) where status = 'queued' and enqueued_at is null;
create index runs_waiting_by_account on runs (account_id, kind, priority, turn)
  where status = 'queued' and enqueued_at is null;
create index runs_parked on runs (parked_at, run_id) where parked_at is not null;

alter table accounts add column quotas jsonb not null default '{}';

-- Of what a request makes: whoever repeats one that died before its answer finds what it had made.
alter table idempotency_keys add column effect_id uuid not null default gen_random_uuid();

-- One row a kind of run, as text, since a kind that was added by an earlier migration may not be committed yet.
-- turn: of the run admitted last. mean_ms: how long such runs took of late.
create table run_lines (
  kind text primary key,
  turn double precision not null default 0,
  mean_ms double precision
);
insert into run_lines (kind) values ('report'), ('export'), ('aggregation'), ('import');

create table queue_pauses (
  queue text primary key,
  paused_by text not null,
  paused_at timestamptz not null default now()
);

create table workers (
  worker_id uuid primary key,
  name text not null,
  slots integer not null,
  seen_at timestamptz not null default now()
);
`)
    .execute(db);
}
