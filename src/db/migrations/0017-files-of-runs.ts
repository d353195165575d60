import { type Kysely, sql } from "kysely";

/**
 * An artifact of thousands of parts has a megabyte, most of it about the parts. What lists say of a file, and what the sum of
 * an account's files needs, stands beside it, so that neither has to fetch it. `file_bytes` is null without a file that is there.
 * Writes the table of runs anew: 500 MB took 20 s.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
alter table runs
  add column file jsonb generated always as (artifact - '{segments,content}'::text[]) stored,
  add column file_bytes bigint
    generated always as (case when not artifact ? 'removed' then (artifact ->> 'bytes')::bigint end) stored,
  add column file_expires_at text generated always as (artifact ->> 'expires_at') stored;

drop index runs_by_live_artifact;
drop index runs_by_expiry;
create index runs_by_live_file on runs (account_id, file_expires_at) include (file_bytes)
  where file_bytes is not null;
create index runs_by_expiry on runs (file_expires_at) where file_bytes is not null;
`)
    .execute(db);
}
