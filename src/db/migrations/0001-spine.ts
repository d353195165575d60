import { type Kysely, sql } from "kysely";

/**
 * The tables of the main path. Keys of everything that grows begin with account_id, so that any of them can be
 * distributed by it. Partitions of message_events are made by `ensurePartitions`, since they depend on the date.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create type event_type as enum (
  'message.queued', 'message.accepted', 'message.sent', 'message.delivered', 'message.read', 'message.played',
  'message.failed', 'message.deleted', 'message.received', 'message.edited', 'message.revoked',
  'reaction.added', 'reaction.removed', 'preference.changed', 'template.changed', 'channel.changed'
);
create type message_direction as enum ('inbound', 'outbound', 'none');
create type run_kind as enum ('report', 'export', 'aggregation');
create type run_status as enum ('queued', 'running', 'succeeded', 'failed', 'cancelled');
create type key_role as enum ('viewer', 'analyst', 'ingest', 'operator', 'admin');

create table installation (
  only_row boolean primary key default true check (only_row),
  installation_id text not null,
  session_secret bytea not null,
  system_identifier text not null,
  epoch integer not null default 1,
  created_at timestamptz not null default now()
);

create table accounts (
  account_id text primary key,
  name text,
  time_zone text not null default 'UTC',
  created_at timestamptz not null default now()
);

create table channels (
  account_id text not null references accounts,
  channel_id text not null,
  name text,
  created_at timestamptz not null default now(),
  primary key (account_id, channel_id)
);
create unique index channels_by_channel on channels (channel_id);

create table api_keys (
  key_id uuid primary key default gen_random_uuid(),
  prefix text not null unique,
  secret_hash bytea not null,
  name text not null,
  role key_role not null,
  account_ids text[],
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);

create table idempotency_keys (
  scope text not null,
  key text not null,
  body_hash bytea not null,
  status smallint,
  headers jsonb,
  body jsonb,
  created_at timestamptz not null default now(),
  primary key (scope, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

create sequence message_event_seq cache 1000;

create table message_events (
  account_id text not null,
  occurred_at timestamptz not null,
  event_key uuid not null,
  xid xid8 not null default pg_current_xact_id(),
  seq bigint not null default nextval('message_event_seq'),
  fact_order bigint not null,
  observed_at timestamptz not null default now(),
  type event_type not null,
  direction message_direction,
  time_quality smallint not null,
  text_length integer,
  message_id text,
  channel_id text,
  chat_id text,
  chat_kind text,
  contact_id text,
  participant_id text,
  content_kind text,
  reply_to text,
  origin text,
  agent_id text,
  template text,
  template_id text,
  template_language text,
  template_category text,
  campaign_id text,
  error_code text,
  error_class text,
  error_title text,
  source text,
  tags text[],
  reaction jsonb,
  interactive jsonb,
  pricing jsonb,
  change jsonb,
  primary key (account_id, occurred_at, event_key)
) partition by range (occurred_at);
create index message_events_in_commit_order on message_events (account_id, xid, seq);
create table message_events_default partition of message_events default;

create table messages (
  account_id text not null,
  message_id text not null,
  anchor_at timestamptz,
  queued_at timestamptz,
  accepted_at timestamptz,
  sent_at timestamptz,
  delivered_at timestamptz,
  read_at timestamptz,
  played_at timestamptz,
  failed_at timestamptz,
  received_at timestamptz,
  deleted_at timestamptz,
  edited_at timestamptz,
  revoked_at timestamptz,
  updated_at timestamptz not null,
  channel_order bigint,
  direction_order bigint,
  chat_order bigint,
  contact_order bigint,
  content_order bigint,
  reply_to_order bigint,
  origin_order bigint,
  template_order bigint,
  campaign_order bigint,
  tags_order bigint,
  error_order bigint,
  pricing_order bigint,
  untrusted_stages smallint not null default 0,
  direction message_direction,
  text_length integer,
  channel_id text,
  chat_id text,
  chat_kind text,
  contact_id text,
  content_kind text,
  reply_to text,
  origin text,
  agent_id text,
  template text,
  template_id text,
  template_language text,
  template_category text,
  campaign_id text,
  error_code text,
  error_class text,
  error_title text,
  tags text[],
  pricing jsonb,
  primary key (account_id, message_id)
) partition by hash (account_id);
create index messages_by_anchor on messages (account_id, anchor_at, message_id);

create table fold_watermarks (
  account_id text primary key references accounts,
  epoch integer not null,
  xid xid8 not null default '0',
  seq bigint not null default 0,
  version bigint not null default 0,
  folded_at timestamptz
);

create table dimension_sets (
  account_id text not null,
  dimensions_id uuid not null,
  channel_id text,
  direction message_direction,
  content_kind text,
  template text,
  campaign_id text,
  error_class text,
  error_code text,
  primary key (account_id, dimensions_id)
);

create table rollups (
  account_id text not null,
  bucket timestamptz not null,
  dimensions_id uuid not null,
  attempted integer not null default 0,
  cohort_sent integer not null default 0,
  cohort_delivered integer not null default 0,
  cohort_read integer not null default 0,
  cohort_played integer not null default 0,
  cohort_failed integer not null default 0,
  cohort_received integer not null default 0,
  cohort_pending integer not null default 0,
  event_sent integer not null default 0,
  event_delivered integer not null default 0,
  event_read integer not null default 0,
  event_played integer not null default 0,
  event_failed integer not null default 0,
  event_received integer not null default 0,
  event_pending integer not null default 0,
  contradictions integer not null default 0,
  clock_anomalies integer not null default 0,
  cohort_send_ms bigint not null default 0,
  cohort_deliver_ms bigint not null default 0,
  cohort_read_ms bigint not null default 0,
  event_send_ms bigint not null default 0,
  event_deliver_ms bigint not null default 0,
  event_read_ms bigint not null default 0,
  bins smallint[],
  counts integer[],
  primary key (account_id, bucket, dimensions_id)
);

create table runs (
  account_id text not null,
  run_id uuid not null default gen_random_uuid(),
  kind run_kind not null,
  status run_status not null default 'queued',
  params jsonb not null,
  requested_by text not null,
  generation integer not null default 1,
  fence bigint not null default 0,
  attempt integer not null default 0,
  max_attempts integer not null default 5,
  worker text,
  heartbeat_at timestamptz,
  cancel_requested_at timestamptz,
  progress_rows bigint not null default 0,
  progress_total_rows bigint,
  progress_bytes bigint not null default 0,
  artifact jsonb,
  result jsonb,
  error jsonb,
  created_at timestamptz not null default now(),
  enqueued_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (account_id, run_id)
);
create unique index runs_by_id on runs (run_id);
create index runs_by_account on runs (account_id, kind, created_at, run_id);
create index runs_by_expiry on runs ((artifact ->> 'expires_at')) where artifact is not null and not artifact ? 'removed';
create index runs_open on runs (status, created_at) where status in ('queued', 'running');

create table quarantined_events (
  account_id text not null,
  payload_hash uuid not null,
  source text not null,
  reason text not null,
  kind text not null,
  channel_id text,
  payload json not null,
  times bigint not null default 1,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  primary key (account_id, payload_hash)
);
create index quarantined_events_by_age on quarantined_events (account_id, last_seen_at);
`)
    .execute(db);
  for (let part = 0; part < MESSAGE_PARTITIONS; part++)
    await sql
      .raw(
        `create table messages_${part} partition of messages
           for values with (modulus ${MESSAGE_PARTITIONS}, remainder ${part})`,
      )
      .execute(db);
}

/** Hash partitions keep indexes and vacuums small; one account lives in one of them, so a fold touches only one. */
const MESSAGE_PARTITIONS = 8;
