import { type Kysely, sql } from "kysely";

/**
 * A large export is built in parts, each a range of keys. A part that is done stays done, whatever happens to the workers:
 * `key` names its file. Rows go when the export has its file, or will never have one.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create table export_parts (
  account_id text not null,
  run_id uuid not null,
  part integer not null,
  layout text not null,
  from_key text[],
  to_key text[],
  fence bigint not null default 0,
  worker text,
  heartbeat_at timestamptz,
  -- Of a part in the making these are what has gone by.
  rows bigint not null default 0,
  bytes bigint not null default 0,
  done_at timestamptz,
  snapshot text,
  as_of timestamptz,
  key text,
  sha256 text,
  detail jsonb,
  primary key (account_id, run_id, part)
);
create index export_parts_by_run on export_parts (run_id) where key is not null;
`)
    .execute(db);
}
