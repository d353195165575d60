import { type Kysely, sql } from "kysely";

/**
 * Imports: another kind of run, the file it reads, and how far it has come. The new kind is not used here: a value that was
 * added to an enum is only usable after the commit. Nullable columns rewrite nothing; the index starts out empty.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
alter type run_kind add value if not exists 'import';
alter table runs add column upload jsonb;
alter table runs add column cursor jsonb;
create index runs_by_upload on runs (updated_at) where upload is not null and not upload ? 'removed';
`)
    .execute(db);
}
