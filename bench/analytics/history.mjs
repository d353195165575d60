import pg from "pg";
import { bucketStarts } from "../../dist/analytics/buckets.js";
import { createDb, createPool } from "../../dist/db/client.js";
import { repairContactDrift } from "../../dist/db/contacts/contact-drift.js";
import { markAllConversations } from "../../dist/db/conversations/marks.js";
import { rebuildConversations } from "../../dist/db/conversations/rebuild.js";
import { createAccount, findConfiguredAccount } from "../../dist/db/queries/accounts.js";
import { repairDrift } from "../../dist/db/rollups/drift.js";
import { settleRollups } from "../../dist/db/rollups/settle.js";
import { rulesOf } from "../../dist/jobs/rebuild-conversations.js";
import { printFigure, timed } from "../support.mjs";

/** A year of 20 accounts; the largest has 40 % of all messages, the others share the rest evenly. Fewer to try it out. */
const MESSAGES = Number(process.env.BENCH_MESSAGES ?? 10_000_000);
const ACCOUNTS = 20;
const LARGEST_SHARE = 0.4;
const DAYS = 365;
const CHUNK = 250_000;
const CONNECTIONS = 2;
/** Stretches of chats that are read anew at a time. */
const STRETCHES = 2_000;
export const TIME_ZONE = "Europe/Berlin";
/** As shipped: what `quarters_days` says. */
const QUARTER_DAYS = 90;
const DAY_MS = 24 * 3_600_000;

export const accountName = (index) => `history-${index}`;
export const LARGEST = accountName(0);

/** A year of whole local days up to yesterday; `daysEarlier`: longer at its beginning. */
export function historyRange(daysEarlier = 0) {
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const starts = bucketStarts(today - (DAYS + daysEarlier + 2) * DAY_MS, today, "day", TIME_ZONE);
  return { from: new Date(starts.at(-1 - DAYS - daysEarlier)), to: new Date(starts.at(-1)) };
}

/**
 * Messages as folds would have left them, made by the database itself, five at a time: two fifths of these are a template
 * each to five contacts, the others a dialogue with one, within minutes, mostly in working hours. 76 % are outbound. 5
 * channels, 20 templates with a campaign each, 6 kinds of content, 5 error codes; contacts have about 40 messages a year.
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
  'channel-' || contact % 5, contact::text, 'direct', contact::text,
  case when templated then 'template' else (array['text','text','image','audio','document','interactive'])[1 + h2 % 6] end,
  case when templated then 'template-' || h1 % 20 end, case when templated then 'campaign-' || h1 % 20 end,
  case when fails then (array['131026','131047','131049','130472','131000'])[1 + h2 % 5] end,
  case when fails then (array['recipient','window','policy','policy','platform'])[1 + h2 % 5] end
from (
  select *, outbound and h3 = 99 as fails,
    case when outbound then at end as queued,
    case when outbound then at + make_interval(secs => 0.2 + h4 / 50.0) end as sent,
    case when outbound and h3 < 95 then at + make_interval(secs => 1.5 + h4 / 9.0) end as delivered
  from (
    select i, h1, h2, h3, h4, templated, templated or i % 5 not in (0, 2) as outbound,
      4915000000000 + (hashint8(7 * case when templated then i else five end) & 2147483647) % greatest(1, $4 / 40) as contact,
      date_trunc('milliseconds', $5::timestamptz + make_interval(
        days => (five % ${DAYS})::integer,
        secs => i % 5 * (20 + h2 * 3) + case when h1 % 5 < 4 then 28800 + random_second % 36000 else random_second % 86400 end
          + (hashint8(i + 9) & 1023) / 1024.0)) as at
    from (
      select *, h1 < 40 as templated
      from (
        select i, i / 5 as five, (hashint8(i / 5 + 1) & 65535) % 100 as h1, (hashint8(i + 2) & 65535) % 100 as h2,
          (hashint8(i + 3) & 65535) % 100 as h3, (hashint8(i + 4) & 65535) % 100 as h4,
          hashint8(i / 5 + 5) & 2147483647 as random_second
        from generate_series($2::bigint, $3::bigint) i
      ) hashed
    ) numbers
  ) timed
) messages`;

/** Loads the year by the fast path and says how long each step took. */
export async function loadHistory(url, messages = MESSAGES) {
  const { from } = historyRange();
  const sizes = Array.from({ length: ACCOUNTS }, (_, index) =>
    Math.round(index === 0 ? messages * LARGEST_SHARE : (messages * (1 - LARGEST_SHARE)) / (ACCOUNTS - 1)),
  );
  const pool = createPool(
    { url, name: "bench", size: 3 * CONNECTIONS, statementTimeoutMs: 0 },
    console.error,
  );
  const db = createDb(pool);
  try {
    for (const index of sizes.keys())
      await createAccount(db, { accountId: accountName(index), name: null, timeZone: TIME_ZONE });
    // As retention has it: older quarters are not written in the first place.
    await pool.query("update accounts set quarters_from = $1", [
      new Date(Math.floor(Date.now() / DAY_MS) * DAY_MS - QUARTER_DAYS * DAY_MS),
    ]);
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
    const names = [...sizes.keys()].map(accountName);
    const step = async (name, work) => printFigure(name, await timed(() => forEach(names, work)), "s");
    await step("history_rollups_load", (name) => repairDrift(db, name));
    await step("history_contacts_load", (name) => repairContactDrift(db, name));
    await step("history_conversations_load", (name) => readConversations(db, name));
    await pool.query("vacuum analyze");
  } finally {
    await pool.end();
  }
}

/** Some at a time, in order. */
async function forEach(names, work) {
  const waiting = [...names];
  const one = async () => {
    for (let name = waiting.shift(); name; name = waiting.shift()) await work(name);
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, one));
}

/** What the job does with an account whose settings have changed. */
async function readConversations(db, accountId) {
  const account = await findConfiguredAccount(db, accountId);
  await markAllConversations(db, accountId, account.settings_version, new AbortController().signal);
  for (;;) {
    const batch = await rebuildConversations(db, accountId, rulesOf(account), { limit: STRETCHES });
    if (batch.stretches < STRETCHES) break;
  }
  await settleRollups(db, accountId);
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
