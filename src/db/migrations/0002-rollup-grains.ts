import { type Kysely, sql } from "kysely";

const cohortAndEvent = (name: string) => [`cohort_${name}`, `event_${name}`];
const counters = [
  ...[
    "provider_timed",
    "group_attempted",
    "group_delivered_to_all",
    "queued",
    "dequeued",
    "opt_outs",
    "opt_ins",
  ],
  ...["replied", "clicked", "reacted", "engaged"].flatMap(cohortAndEvent),
  ...["group_sent", "group_delivered", "group_read", "group_failed"].flatMap(cohortAndEvent),
];
const sums = [
  ...cohortAndEvent("queue_ms"),
  ...["queue_retries", "reactions", "recipients", "recipients_delivered", "recipients_read"],
];
const held = [
  ...["attempted", "contradictions", "clock_anomalies"],
  ...["sent", "delivered", "read", "played", "failed", "received", "pending"].flatMap(cohortAndEvent),
  ...["send_ms", "deliver_ms", "read_ms"].flatMap(cohortAndEvent),
];

/**
 * Rollups by local day beside those by 15 minutes, in groupings of their own, and what engagement, queues and groups
 * count. A zero takes no room any more: it is null. Accounts that exist already build their days in the background.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create table account_zones (
  account_id text not null references accounts,
  zone_id smallint not null,
  time_zone text not null,
  created_at timestamptz not null default now(),
  built_at timestamptz,
  retired_at timestamptz,
  primary key (account_id, zone_id)
);
create index account_zones_unbuilt on account_zones (account_id) where built_at is null;
insert into account_zones (account_id, zone_id, time_zone) select account_id, 1, time_zone from accounts;

-- zone_id: the zone whose days answer queries; null until they are built. Quarters of an hour before quarters_from are gone.
alter table accounts add column zone_id smallint, add column quarters_from timestamptz;

alter table messages
  add column replied_at timestamptz,
  add column clicked_at timestamptz,
  add column reacted_at timestamptz,
  add column answered_at timestamptz,
  add column requeued_at timestamptz[],
  add column interactive_order bigint,
  add column interactive jsonb,
  add column reactions jsonb,
  add column reaction_count integer,
  add column recipients integer,
  add column recipients_delivered integer,
  add column recipients_read integer,
  add column recipients_failed integer;
create index messages_in_queue on messages (account_id, queued_at)
  where queued_at is not null and accepted_at is null and sent_at is null and delivered_at is null
    and read_at is null and played_at is null and failed_at is null;

create table message_recipients (
  account_id text not null,
  message_id text not null,
  -- A digest: two ids of the greatest length would not fit into an index entry.
  participant_key uuid not null,
  participant_id text not null,
  sent_at timestamptz,
  delivered_at timestamptz,
  read_at timestamptz,
  played_at timestamptz,
  failed_at timestamptz,
  primary key (account_id, message_id, participant_key)
);

create table preference_changes (
  account_id text not null,
  contact_id text not null,
  occurred_at timestamptz not null,
  is_opt_out boolean not null,
  -- A digest, for the same reason; that of an empty text where no channel is named.
  channel_key uuid not null,
  channel_id text,
  primary key (account_id, contact_id, occurred_at, is_opt_out, channel_key)
);

alter table dimension_sets
  add column grouping smallint not null default 127,
  drop constraint dimension_sets_pkey,
  add primary key (account_id, grouping, dimensions_id);
alter table dimension_sets alter column grouping drop default;

alter table rollups
  ${held.map((name) => `alter column ${name} drop not null, alter column ${name} drop default`).join(",\n  ")},
  ${counters.map((name) => `add column ${name} integer`).join(",\n  ")},
  ${sums.map((name) => `add column ${name} bigint`).join(",\n  ")};

create table daily_rollups (
  zone_id smallint not null,
  grouping smallint not null,
  day date not null,
  like rollups including defaults
);
alter table daily_rollups drop column bucket,
  add primary key (account_id, zone_id, grouping, day, dimensions_id);

-- What is still to be added to both: comes and goes within minutes.
create table rollup_deltas (like rollups including defaults)
  with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
create index rollup_deltas_by_bucket on rollup_deltas (account_id, bucket);
alter table fold_watermarks
  add column unsettled_rows integer not null default 0,
  add column unsettled_since timestamptz;
create index fold_watermarks_unsettled on fold_watermarks (unsettled_since) where unsettled_since is not null;
`)
    .execute(db);
}
