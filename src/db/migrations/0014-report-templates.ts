import { type Kysely, sql } from "kysely";

/**
 * Report templates of accounts. A version is never changed: a report names the one it is built with. An archived name
 * keeps its versions, and goes on counting them when it is used again.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create table report_templates (
  account_id text not null references accounts,
  name text not null,
  version integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  archived_at timestamptz,
  primary key (account_id, name)
);

create table report_template_versions (
  account_id text not null,
  name text not null,
  version integer not null,
  definition jsonb not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  primary key (account_id, name, version),
  foreign key (account_id, name) references report_templates
);
`)
    .execute(db);
}
