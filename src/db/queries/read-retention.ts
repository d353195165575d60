import { CompiledQuery } from "kysely";
import type { RetentionQuery } from "../../analytics/retention-query.js";
import { NotFound } from "../../errors.js";
import type { Db } from "../client.js";
import { freshnessSql } from "./metrics-statement.js";

export interface RetentionCounts {
  /** Contacts of a cohort that wrote in a period, by `<cohort> <period>`, dates both; absent where nobody did. */
  counts: ReadonlyMap<string, number>;
  /** Everything that was stored by then is counted. */
  asOf: string;
}

/** One snapshot: counts and freshness from one statement. Throws `NotFound` (`account_not_found`). */
export async function readRetention(db: Db, query: RetentionQuery): Promise<RetentionCounts> {
  const { text, parameters } = retentionStatement(query);
  const { rows } = await db.executeQuery<{
    as_of: number | null;
    first: string | null;
    starts: string;
    contacts: number;
  }>(CompiledQuery.raw(text, parameters));
  const asOf = rows[0]?.as_of;
  if (typeof asOf !== "number") throw new NotFound("account_not_found", "There is no such account.");
  const known = rows.filter(({ first }) => first !== null);
  return {
    counts: new Map(known.map(({ first, starts, contacts }) => [`${first} ${starts}`, contacts])),
    asOf: new Date(asOf).toISOString(),
  };
}

/** An index range of the cohorts for each first period, exactly the rows that are shown. */
export function retentionStatement(query: RetentionQuery): { text: string; parameters: unknown[] } {
  const dates = query.cohorts.map(({ date }) => date);
  const text = `
with freshness as materialized (${freshnessSql({ needsChats: false })})
select f.as_of, c.first::text as first, c.starts::text as starts, c.contacts
from freshness f
left join (
  unnest($4::date[]) as cohort(first)
  cross join lateral (
    select r.first, r.starts, r.contacts from contact_cohorts r
    where r.account_id = $1 and r.zone_id = $2 and r.period = $3::contact_period
      and r.first = cohort.first and r.starts >= cohort.first
      and r.starts <= (cohort.first + $5 * interval '1 ${query.period}')::date
    offset 0
  ) c
) on true`;
  return { text, parameters: [query.accountId, query.zoneId, query.period, dates, query.periods] };
}
