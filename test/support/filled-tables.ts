import type { Pool } from "pg";
import { conversationRollups } from "../../src/db/rollups/conversations.js";
import { groupingsOf, type RollupFamily } from "../../src/db/rollups/family.js";
import { messageRollups } from "../../src/db/rollups/messages.js";

/** The account that plans are asked for. */
export const FILLED = "full-3";
const ACCOUNTS = 12;
const accounts = `(select 'full-' || a as account_id from generate_series(1, ${ACCOUNTS}) a) accounts`;

/** Three combinations, known in every grouping; what is counted of them does not matter. */
function familySql(family: RollupFamily): string {
  const { sets, quarters, days, deltas, counters } = family;
  const masks = groupingsOf(family).map(({ mask }) => mask);
  const counted = counters.slice(0, 4).join(", ");
  const ones = "1, 1, 1, 1";
  const at = "'2025-01-01'::timestamptz + n * interval '15 minutes'";
  return `
insert into ${sets} (account_id, grouping, dimensions_id, channel_id)
select account_id, mask, md5(dim::text)::uuid, 'c' || dim
from ${accounts}, unnest(array[${masks.join(", ")}]) mask, generate_series(1, 3) dim;
insert into ${quarters} (account_id, bucket, dimensions_id, bins, counts, ${counted})
select account_id, ${at}, md5(dim::text)::uuid, '{100}', '{1}', ${ones}
from ${accounts}, generate_series(0, 1499) n, generate_series(1, 3) dim;
insert into ${deltas} (account_id, bucket, dimensions_id, bins, counts, ${counted})
select account_id, ${at}, md5((n % 3)::text)::uuid, '{100}', '{1}', ${ones} from ${accounts}, generate_series(0, 999) n;
insert into ${days} (account_id, zone_id, grouping, day, dimensions_id, bins, counts, ${counted})
select account_id, 1, mask, '2025-01-01'::date + n, md5(dim::text)::uuid, '{100}', '{1}', ${ones}
from ${accounts}, unnest(array[${masks.join(", ")}]) mask, generate_series(0, 59) n, generate_series(1, 3) dim;`;
}

/**
 * Rows of a dozen accounts in every table that grows, and many accounts more: so many that whoever has to look at all of
 * them is found by the planner to be the dearer way.
 */
const fillSql = `
insert into accounts (account_id, zone_id)
select account_id, 1 from (
  select account_id from ${accounts} union all select 'other-' || a from generate_series(1, 3000) a
) made;
insert into account_zones (account_id, zone_id, time_zone, built_at) select account_id, 1, 'UTC', now() from accounts;
insert into messages (account_id, message_id, direction, chat_id, contact_id, channel_id, anchor_at, queued_at, sent_at, received_at, updated_at)
select account_id, 'm' || n, case when n % 2 = 0 then 'inbound' else 'outbound' end::message_direction,
       'chat-' || n % 50, 'chat-' || n % 50, 'c1', at,
       case when n % 2 = 1 then at end, case when n % 2 = 1 and n % 99 > 0 then at end, case when n % 2 = 0 then at end, at
from ${accounts}, generate_series(1, 4000) n, lateral (select '2025-01-01'::timestamptz + n * interval '10 minutes' as at) times;
insert into message_events (account_id, occurred_at, event_key, fact_order, type, time_quality, message_id)
select account_id, date_trunc('month', now()) - interval '4 months' + n * interval '150 minutes', md5(n::text)::uuid, n, 'message.sent', 0, 'm' || n
from ${accounts}, generate_series(1, 2000) n;
insert into fold_watermarks (account_id, epoch, xid, seq, folded_at)
select account_id, 1, pg_current_xact_id(), 1000000000, now() from accounts;
${[messageRollups, conversationRollups].map(familySql).join("")}
insert into conversation_marks (account_id, chat_key, month, chat_id, from_at, to_at)
select account_id, md5(n::text)::uuid, '2025-01-01', 'chat-' || n, '2025-01-02', '2025-01-03'
from ${accounts}, generate_series(1, 500) n;
insert into flow_edges (account_id, zone_id, day, edge_id, position, from_step, to_step, conversations)
select account_id, 1, '2025-01-01'::date + n, md5(edge::text)::uuid, edge % 6, 'in:text', 'out:text', 9
from ${accounts}, generate_series(0, 99) n, generate_series(1, 20) edge;
insert into contact_presence (account_id, zone_id, period, contact_id, starts, messages)
select account_id, 1, period::contact_period, 'c' || contact, starts, 1
from ${accounts}, generate_series(1, 40) contact, unnest(array['day', 'week', 'month']) period,
     generate_series('2025-01-01'::date, '2025-04-30', ('1 ' || period)::interval) starts;
insert into contact_cohorts (account_id, zone_id, period, starts, first, contacts)
select account_id, 1, period, starts, first, 1
from ${accounts}, (select distinct period, starts from contact_presence) p
join (select distinct period, starts as first from contact_presence where starts < '2025-02-01') f using (period)
where starts >= first;`;

export async function fillTables(pool: Pool): Promise<void> {
  await pool.query(fillSql);
  await pool.query("vacuum analyze");
}
