import { anchorAt } from "../fold/message-state.js";
import { bucketOf, dayOf, ZONES } from "../rollups/deltas.js";

/** Name of the common table expression that holds the differences. */
export const PRESENCE_DELTAS = "presence_deltas";

/**
 * The one definition of when a contact is there: in the local day, week (from Monday) and month of every inbound message
 * that was received from it. Common table expressions over `states(sign, …)`, a row per message state with the
 * contributing columns; the result is `presence_deltas(zone_id, period, contact_id, starts, n)`. Messages whose state
 * changed in other ways cancel out before any zone is looked at, so a batch of statuses costs nothing here. The fold picks
 * facts in the order of bytes; with that collation no index on a contact would serve.
 */
export const presenceDeltasSql = (states: string, zones = ZONES): string => `
heard as materialized (
  select contact_id, bucket, sum(sign)::integer as n
  from (
    select sign, contact_id collate "default" as contact_id, ${bucketOf(anchorAt("s"))} as bucket
    from ${states} s
    where direction = 'inbound' and received_at is not null and contact_id is not null
  ) each
  group by contact_id, bucket having sum(sign) <> 0
),
heard_days as materialized (
  select bucket, zone_id, ${dayOf("bucket", "time_zone")} as day
  from (select distinct bucket from heard) met
  cross join (${zones}) zones
),
${PRESENCE_DELTAS} as materialized (
  select zone_id, period, contact_id, starts, sum(n)::integer as n
  from (
    select zone_id, contact_id, n,
           unnest(array['day', 'week', 'month']::contact_period[]) as period,
           unnest(array[day, date_trunc('week', day::timestamp)::date, date_trunc('month', day::timestamp)::date]) as starts
    from heard join heard_days using (bucket)
  ) each
  group by zone_id, period, contact_id, starts having sum(n) <> 0
)`;
