import { type Kysely, sql } from "kysely";

const each = (...lists: string[][]): string[] =>
  lists.reduce<string[]>((made, list) => made.flatMap((one) => list.map((next) => one + next)), [""]);
const bases = ["cohort_", "event_"];
const responders = ["any_", "human_"];
const hours = ["elapsed_ms", "business_ms"];

const counters = [
  "conversations",
  ...each(responders, ["answered", "unanswered", "abandoned"]).map((name) => `conversations_${name}`),
  "conversations_no_reply",
  ...each(bases, responders, [
    "turns",
    "turns_answered",
    "turns_in_window",
    "turns_in_sla_elapsed",
    "turns_in_sla_business",
  ]),
];
const sums = [
  ...each(bases, responders, ["reply_first_", "reply_last_", "first_response_"], hours),
  ...each(responders, ["waiting_"], hours),
  "conversation_ms",
  "conversation_inbound",
  "conversation_outbound",
];

/**
 * Conversations, their turns and the ways through them, and what they count. Keys hold a digest of chat and channel:
 * the ids themselves may be too long for an index entry. Marks say which stretch of a chat has to be read anew.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
-- The settings that conversations were built by; other than settings_version: all chats are read anew.
alter table accounts add column conversations_version integer not null default 0;
alter table accounts alter column conversations_version set default 1;
alter table accounts add column has_calendar boolean not null
  generated always as (coalesce(settings -> 'calendar' <> 'null', false)) stored;
-- Since when they are other settings than those.
alter table accounts add column settings_changed_at timestamptz not null default now();
update accounts set settings_changed_at = created_at;
create index accounts_to_rebuild on accounts (account_id) where settings_version <> conversations_version;

create table conversation_marks (
  account_id text not null,
  chat_key uuid not null,
  month date not null,
  chat_id text not null,
  channel_id text,
  from_at timestamptz not null,
  to_at timestamptz not null,
  marked_at timestamptz not null default now(),
  -- What was stored by then is in the conversations.
  counted_to timestamptz not null default now(),
  primary key (account_id, chat_key, month)
);
-- What has been missing for longest first, which is the freshness of all.
create index conversation_marks_by_age on conversation_marks (account_id, counted_to, marked_at, chat_key, month);

create table conversations (
  account_id text not null,
  chat_key uuid not null,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  inbound integer not null,
  outbound integer not null,
  any_waiting_elapsed_ms bigint,
  any_waiting_business_ms bigint,
  human_waiting_elapsed_ms bigint,
  human_waiting_business_ms bigint,
  started_by message_direction not null,
  chat_id text not null,
  channel_id text,
  chat_kind text,
  contact_id text,
  any_outcome text not null,
  human_outcome text not null,
  steps text[] not null,
  primary key (account_id, chat_key, started_at)
);
create index conversations_by_start on conversations (account_id, started_at, chat_key);

create table conversation_turns (
  account_id text not null,
  chat_key uuid not null,
  started_at timestamptz not null,
  slot integer not null,
  -- Who may answer: 1 anybody, 2 people only, 3 the same for both.
  lens smallint not null,
  last_at timestamptz not null,
  answered_at timestamptz,
  conversation_started_at timestamptz not null,
  first_business_ms bigint,
  last_business_ms bigint,
  is_first boolean not null,
  is_in_window boolean not null,
  is_in_sla_elapsed boolean not null,
  is_in_sla_business boolean,
  started_by message_direction not null,
  channel_id text,
  agent_id text,
  primary key (account_id, chat_key, conversation_started_at, slot, lens)
);

create table conversation_sets (
  account_id text not null,
  grouping smallint not null,
  dimensions_id uuid not null,
  channel_id text,
  started_by message_direction,
  agent_id text,
  primary key (account_id, grouping, dimensions_id)
);

create table conversation_rollups (
  account_id text not null,
  bucket timestamptz not null,
  dimensions_id uuid not null,
  ${counters.map((name) => `${name} integer`).join(",\n  ")},
  ${sums.map((name) => `${name} bigint`).join(",\n  ")},
  bins integer[],
  counts integer[],
  primary key (account_id, bucket, dimensions_id)
);

create table daily_conversation_rollups (
  zone_id smallint not null,
  grouping smallint not null,
  day date not null,
  like conversation_rollups including defaults
);
alter table daily_conversation_rollups drop column bucket,
  add primary key (account_id, zone_id, grouping, day, dimensions_id);

create table conversation_rollup_deltas (like conversation_rollups including defaults)
  with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
create index conversation_rollup_deltas_by_bucket on conversation_rollup_deltas (account_id, bucket);

-- frozen: how many of the conversations have been removed by age.
create table flow_edges (
  account_id text not null,
  zone_id smallint not null,
  day date not null,
  edge_id uuid not null,
  position smallint not null,
  from_step text,
  to_step text,
  conversations integer not null,
  frozen integer not null default 0,
  primary key (account_id, zone_id, day, edge_id)
);
`)
    .execute(db);
}
