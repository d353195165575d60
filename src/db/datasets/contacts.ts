import pg from "pg";
import type { Column } from "../../exports/columns.js";
import type { Rows } from "./dataset.js";

/** Local days of the account's zone whose contacts are wanted; `to` is exclusive. */
export interface ContactSelection {
  accountId: string;
  zoneId: number;
  from: string;
  to: string;
}

const date = (name: string): Column => ({ name, sql: `c.${name}::text`, type: "text" });

/** The columns of the `contacts` dataset, in file order. Days are dates of the account's time zone. */
export const contactColumns: readonly Column[] = [
  { name: "account_id", sql: "c.account_id", type: "text" },
  { name: "contact_id", sql: "c.contact_id", type: "text" },
  date("first_day"),
  date("first_day_in_range"),
  date("last_day_in_range"),
  { name: "active_days", sql: "c.active_days", type: "integer" },
  { name: "messages", sql: "c.messages", type: "integer" },
];

/**
 * One row a contact that wrote in the range. Reads every day of every contact by the primary key, so that contacts come in
 * the order of their ids and `first_day` is that of all times: the cost is that of the account's history.
 */
export function selectContacts({ accountId, zoneId, from, to }: ContactSelection): Rows {
  const literal = pg.escapeLiteral;
  const inRange = `p.starts >= ${literal(from)}::date and p.starts < ${literal(to)}::date`;
  const contacts = `
    select p.account_id, p.contact_id, min(p.starts) as first_day,
           min(p.starts) filter (where ${inRange}) as first_day_in_range,
           max(p.starts) filter (where ${inRange}) as last_day_in_range,
           count(*) filter (where ${inRange}) as active_days,
           sum(p.messages) filter (where ${inRange}) as messages
    from contact_presence p
    where p.account_id = ${literal(accountId)} and p.zone_id = ${Number(zoneId)} and p.period = 'day' and p.messages > 0
    group by p.account_id, p.contact_id
    having count(*) filter (where ${inRange}) > 0`;
  return {
    columns: contactColumns,
    key: undefined,
    from: ({ ordered }) => `from (${contacts}${ordered ? " order by p.account_id, p.contact_id" : ""}) c`,
  };
}
