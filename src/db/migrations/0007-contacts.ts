import { type Kysely, sql } from "kysely";

/**
 * Which contacts wrote in which local day, week and month, and since when they do. Zones of accounts that have messages
 * already count as unbuilt until their contacts have been added up too.
 *
 * Neither the count of `contact_presence` nor that of `contact_cohorts` is part of an index, so that counting up, which
 * happens all the time, writes to no index. The index by time holds every row, but is only there for who says so: the fold
 * looks up single contacts, and a planner without statistics would read all of them through it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
create type contact_period as enum ('day', 'week', 'month');

-- messages: how many inbound ones of the contact lie in the period. Below 0 only while a zone is being built.
-- frozen: how many of them have been removed by age.
create table contact_presence (
  account_id text not null,
  zone_id smallint not null,
  period contact_period not null,
  contact_id text not null,
  starts date not null,
  messages integer not null,
  frozen integer not null default 0,
  primary key (account_id, zone_id, period, contact_id, starts)
);
create index contact_presence_by_time on contact_presence (account_id, zone_id, period, starts, contact_id)
  where starts > '-infinity';

-- contacts: how many were there in the period that starts on \`starts\`, and for the first time in that of \`first\`.
create table contact_cohorts (
  account_id text not null,
  zone_id smallint not null,
  period contact_period not null,
  starts date not null,
  first date not null,
  contacts integer not null,
  primary key (account_id, zone_id, period, starts, first)
);
create index contact_cohorts_by_first on contact_cohorts (account_id, zone_id, period, first, starts);

update account_zones z set built_at = null
where exists (select from messages m where m.account_id = z.account_id);
update accounts a set zone_id = null
where exists (select from messages m where m.account_id = a.account_id);
`)
    .execute(db);
}
