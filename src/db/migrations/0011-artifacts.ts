import { type Kysely, sql } from "kysely";

/**
 * What an account decides about its files (only what was set), a count of what they take by one index, and links that give
 * a file to whoever has them. Of a link's secret only its hash is kept; every use of a link is written down.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
alter table accounts add column files jsonb not null default '{}';

create index runs_by_live_artifact on runs (account_id) where artifact is not null and not artifact ? 'removed';

create table download_links (
  account_id text not null,
  link_id uuid not null default gen_random_uuid(),
  run_id uuid not null,
  secret_hash bytea not null,
  requested_by text not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  max_downloads integer,
  downloads integer not null default 0,
  uses integer not null default 0,
  last_download_at timestamptz,
  primary key (account_id, link_id)
);
create unique index download_links_by_id on download_links (link_id);
create index download_links_by_run on download_links (account_id, run_id, created_at, link_id);
create index download_links_by_expiry on download_links (expires_at);

create table download_uses (
  account_id text not null,
  link_id uuid not null,
  use_id bigint generated always as identity,
  used_at timestamptz not null,
  client_address text not null,
  user_agent text,
  method text not null,
  range_start bigint,
  range_end bigint,
  outcome text not null,
  primary key (account_id, link_id, use_id)
);
`)
    .execute(db);
}
