import { type Kysely, sql } from "kysely";

/**
 * Where finished runs are announced: the webhook endpoints of an account, and one row for every message that goes to one
 * of them or to a mail address. New tables only; nothing that is there already is touched.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create type delivery_status as enum ('pending', 'delivered', 'failed', 'cancelled');

-- failing_since: since when there was nothing but failures. resume_at: until then the endpoint is left alone.
create table webhook_endpoints (
  account_id text not null references accounts,
  endpoint_id uuid not null default gen_random_uuid(),
  url text not null,
  events text[] not null,
  description text,
  secret bytea not null,
  previous_secret bytea,
  previous_secret_until timestamptz,
  failing_since timestamptz,
  resume_at timestamptz,
  disabled_at timestamptz,
  disabled_reason text,
  created_at timestamptz not null default now(),
  primary key (account_id, endpoint_id)
);
create unique index webhook_endpoints_by_id on webhook_endpoints (endpoint_id);
create index webhook_endpoints_by_account on webhook_endpoints (account_id, created_at, endpoint_id);

-- place: among all that an event goes to, so that it goes to each once. attempts only rises, so that it is also the
-- fence of an attempt; base_attempt is where it stood when somebody asked for a retry. While an attempt is under way
-- next_attempt_at is the time after which its worker counts as dead.
create table deliveries (
  account_id text not null,
  delivery_id uuid not null default gen_random_uuid(),
  event text not null,
  run_id uuid,
  generation integer,
  place integer not null default 0,
  endpoint_id uuid,
  mail jsonb,
  data jsonb,
  status delivery_status not null default 'pending',
  attempts integer not null default 0,
  base_attempt integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  log jsonb not null default '[]',
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  finished_at timestamptz,
  primary key (account_id, delivery_id),
  check ((endpoint_id is null) = (mail is not null))
);
create unique index deliveries_by_id on deliveries (delivery_id);
create unique index deliveries_by_run on deliveries (account_id, run_id, generation, place) where run_id is not null;
create index deliveries_by_account on deliveries (account_id, created_at, delivery_id);
create index deliveries_pending on deliveries (account_id, endpoint_id, next_attempt_at) where status = 'pending';
create index deliveries_by_end on deliveries (finished_at) where finished_at is not null;
`)
    .execute(db);
}
