import pg from "pg";
import { bucketStarts } from "../../dist/analytics/buckets.js";
import { createDb, createPool } from "../../dist/db/client.js";
import { createAccount } from "../../dist/db/queries/accounts.js";
import { repairDrift } from "../../dist/db/rollups/drift.js";
import { printFigure, timed } from "../support.mjs";

/** A year of 20 accounts; the largest has 40 % of all messages, the others share the rest evenly. Fewer to try it out. */
const MESSAGES = Number(process.env.BENCH_MESSAGES ?? 10_000_000);
const ACCOUNTS = 20;
const LARGEST_SHARE = 0.4;
const DAYS = 365;
const CHUNK = 250_000;
const CONNECTIONS = 2;
export const TIME_ZONE = "Europe/Berlin";
/** As shipped: what `quarters_days` says. */
const QUARTER_DAYS = 90;
const DAY_MS = 24 * 3_600_000;

export const accountName = (index) => `history-${index}`;
export const LARGEST = accountName(0);

/** A year of whole local days up to yesterday; `daysEarlier`: longer at its beginning. */
export function historyRange(daysEarlier = 0) {
  const starts = bucketStarts(
    Math.floor(Date.now() / DAY_MS) * DAY_MS - 2 * DAYS * DAY_MS,
    Math.floor(Date.now() / DAY_MS) * DAY_MS,
    "day",
    TIME_ZONE,
  );
  return { from: new Date(starts.at(-1 - DAYS - daysEarlier)), to: new Date(starts.at(-1)) };
}

/**
 * Messages as folds would have left them, made by the database itself. 5 channels, 20 templates with a campaign each,
 * 6 kinds of content, 5 error codes; 60 % outbound, most of it in working hours; contacts write about 40 messages a year.
 */
const fillSql = `
insert into messages (account_id, message_id, anchor_at, queued_at, accepted_at, sent_at, delivered_at, read_at, failed_at,
  received_at, updated_at, channel_order, direction_order, chat_order, contact_order, content_order, template_order,
  campaign_order, error_order, direction, channel_id, chat_id, chat_kind, contact_id, content_kind, template, campaign_id,
  error_code, error_class)
select $1, 'wamid.HBgL' || upper(md5($1 || i)) || 'AA==', at, queued, queued + interval '80 milliseconds', sent, delivered,
  case when not fails and h3 < 70 then delivered + make_interval(secs => 3 + h4 * h4) end,
  case when fails then sent + interval '2 seconds' end,
  case when not outbound then at end, at + interval '1 hour', i, i, i, i, i,
  case when templated then i end, case when templated then i end, case when fails then i end,
  case when outbound then 'outbound'::message_direction else 'inbound'::message_direction end,
  'channel-' || h1 % 5, contact, 'direct', contact,
  case when templated then 'template' else (array['text','text','image','audio','document','interactive'])[1 + h2 % 6] end,
  case when templated then 'template-' || h2 % 20 end, case when templated then 'campaign-' || h2 % 20 end,
  case when fails then (array['131026','131047','131049','130472','131000'])[1 + h3 % 5] end,
  case when fails then (array['recipient','window','policy','policy','platform'])[1 + h3 % 5] end
from (
  select *, outbound and h3 = 99 as fails, outbound and h2 < 70 as templated,
    case when outbound then at end as queued,
    case when outbound then at + make_interval(secs => 0.2 + h4 / 50.0) end as sent,
    case when outbound and h3 < 95 then at + make_interval(secs => 1.5 + h4 / 9.0) end as delivered
  from (
    select i, h1, h2, h3, h4, (h1 * 100 + h2) % 10 < 6 as outbound,
      '49' || 15000000000 + (hashint8(i * 7) & 2147483647) % greatest(1, $4 / 40) as contact,
      date_trunc('milliseconds', $5::timestamptz + make_interval(
        days => (i % ${DAYS})::integer,
        secs => case when h4 < 80 then 28800 + ((hashint8(i) & 2147483647) % 36000000) / 1000.0
                else ((hashint8(i) & 2147483647) % 86400000) / 1000.0 end)) as at
    from (
      select i, (hashint8(i + 1) & 65535) % 100 as h1, (hashint8(i + 2) & 65535) % 100 as h2,
        (hashint8(i + 3) & 65535) % 100 as h3, (hashint8(i + 4) & 65535) % 100 as h4
      from generate_series($2::bigint, $3::bigint) i
    ) numbers
  ) timed
) messages`;

/** Loads the year by the fast path and says how long each step took. */
export async function loadHistory(url, messages = MESSAGES) {
  const { from } = historyRange();
  const sizes = Array.from({ length: ACCOUNTS }, (_, index) =>
    Math.round(index === 0 ? messages * LARGEST_SHARE : (messages * (1 - LARGEST_SHARE)) / (ACCOUNTS - 1)),
  );
  const pool = createPool({ url, name: "bench", size: CONNECTIONS, statementTimeoutMs: 0 }, console.error);
  const db = createDb(pool);
  try {
    for (const index of sizes.keys())
      await createAccount(db, { accountId: accountName(index), name: null, timeZone: TIME_ZONE });
    const chunks = sizes.flatMap((size, index) =>
      Array.from({ length: Math.ceil(size / CHUNK) }, (_, chunk) => [
        accountName(index),
        chunk * CHUNK + 1,
        Math.min(size, (chunk + 1) * CHUNK),
        size,
        from,
      ]),
    );
    printFigure("history_messages_load", await timed(() => inParallel(url, chunks, fillSql)), "s");
    await pool.query("analyze messages");
    const folding = await timed(async () => {
      for (const index of sizes.keys()) await repairDrift(db, accountName(index));
    });
    printFigure("history_rollups_load", folding, "s");
    await forgetQuarters(pool);
    await pool.query("vacuum analyze");
    return { accounts: sizes.map((_, index) => accountName(index)), messages };
  } finally {
    await pool.end();
  }
}

async function inParallel(url, jobs, text) {
  const waiting = [...jobs];
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await client.query("set synchronous_commit = off");
      for (let job = waiting.shift(); job; job = waiting.shift()) await client.query(text, job);
      await client.end();
    }),
  );
}

/** What the retention of quarters does: they are kept for 90 days. */
async function forgetQuarters(pool) {
  const floor = new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS - QUARTER_DAYS * DAY_MS);
  await pool.query("update accounts set quarters_from = $1", [floor]);
  await pool.query("delete from rollups where bucket < $1", [floor]);
}
