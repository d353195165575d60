import { CompiledQuery } from "kysely";
import type { ContactsPlan } from "../../analytics/contacts-plan.js";
import type { Db } from "../client.js";
import { TOTAL } from "./metrics-statement.js";

/** What is read of one bucket, numbered from 1, or of the whole range (`TOTAL`). */
export interface ContactsRow {
  [name: string]: number | null;
  as_of: null;
  bucket: number;
  active_contacts: number;
  new_contacts: number;
  returning_contacts: number;
}

/** The different contacts of an account, a row per bucket with any, and one for the whole range. */
export async function readContacts(db: Db, accountId: string, plan: ContactsPlan): Promise<ContactsRow[]> {
  const total = await firstRow(db, contactTotalsStatement(accountId, plan));
  const whole = toRow(TOTAL, total!);
  if (plan.period === undefined) return [whole, { ...whole, bucket: 1 }];
  const numbers = new Map(plan.starts.map((date, index) => [date, index + 1]));
  const { text, parameters } = contactBucketsStatement(accountId, plan);
  const { rows } = await db.executeQuery<Counted & { starts: string }>(CompiledQuery.raw(text, parameters));
  return [whole, ...rows.map((row) => toRow(numbers.get(row.starts)!, row))];
}

interface Counted {
  active: number;
  fresh: number;
}

interface Statement {
  text: string;
  parameters: unknown[];
}

const firstRow = async (db: Db, { text, parameters }: Statement): Promise<Counted | undefined> =>
  (await db.executeQuery<Counted>(CompiledQuery.raw(text, parameters))).rows[0];

const toRow = (bucket: number, { active, fresh }: Counted): ContactsRow => ({
  as_of: null,
  bucket,
  active_contacts: active,
  new_contacts: fresh,
  returning_contacts: active - fresh,
});

/** One index range of the cohorts: for each period as many rows as there are earlier periods with any new contact. */
export function contactBucketsStatement(accountId: string, plan: ContactsPlan): Statement {
  const text = `
select starts::text as starts, sum(contacts)::bigint as active,
       coalesce(sum(contacts) filter (where first = starts), 0)::bigint as fresh
from contact_cohorts
where account_id = $1 and zone_id = $2 and period = $3::contact_period and starts >= $4::date and starts < $5::date
group by starts`;
  return { text, parameters: [accountId, plan.zoneId, plan.period, plan.from, plan.to] };
}

/**
 * The different contacts of a range: index ranges of presence, by month where months are whole and by day at the edges,
 * with an entry for each contact and period. Who is new was there for the first time on one of the days: an index probe
 * each.
 */
export function contactTotalsStatement(accountId: string, plan: ContactsPlan): Statement {
  const { zoneId, from, to, months } = plan;
  const text = `
select (
         select count(*) from (
           ${presentSql("day", "$3", months ? "$5" : "$4")}
           ${months ? `union\n           ${presentSql("month", "$5", "$6")}` : ""}
           ${months ? `union\n           ${presentSql("day", "$6", "$4")}` : ""}
         ) present
       ) as active,
       (
         select coalesce(sum(c.contacts), 0)::bigint
         from generate_series($3::date, $4::date - 1, interval '1 day') as on_day(first)
         cross join lateral (
           select contacts from contact_cohorts
           where account_id = $1 and zone_id = $2 and period = 'day'
             and starts = on_day.first::date and first = on_day.first::date
           limit 1
         ) c
       ) as fresh`;
  return { text, parameters: [accountId, zoneId, from, to, ...(months ? [months.from, months.to] : [])] };
}

const presentSql = (period: "day" | "month", from: string, to: string): string =>
  `select distinct contact_id from contact_presence
           where account_id = $1 and zone_id = $2 and period = '${period}'
             and starts >= ${from}::date and starts < ${to}::date and starts > '-infinity'`;
