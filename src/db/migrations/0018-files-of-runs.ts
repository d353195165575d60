import { type Kysely, sql } from "kysely";

/**
 * An artifact of thousands of parts has a megabyte, most of it about the parts. What lists say of a file, and what the sum of
 * an account's files needs, stands beside it, so that neither has to fetch it. Writes the table of runs anew.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
alter table runs
  add column file jsonb generated always as (artifact - '{segments,content}'::text[]) stored,
  add column file_bytes bigint generated always as ((artifact ->> 'bytes')::bigint) stored,
  add column file_expires_at text generated always as (artifact ->> 'expires_at') stored;

drop index runs_by_live_artifact;
drop index runs_by_expiry;
create index runs_by_live_file on runs (account_id, file_expires_at) include (file_bytes)
  where artifact is not null and not artifact ? 'removed';
create index runs_by_expiry on runs (file_expires_at) where artifact is not null and not artifact ? 'removed';
`)
    .execute(db);
}
