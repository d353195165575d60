import { Agent } from "node:http";
import pg from "pg";
import { loadConfig } from "../../dist/config.js";
import { createDb, createPool } from "../../dist/db/client.js";
import { foldBatch } from "../../dist/db/fold/fold-account.js";
import { settleRollups } from "../../dist/db/rollups/settle.js";
import { ingest, streamsOf, traffic } from "../core/traffic.mjs";
import {
  fetchBytes,
  median,
  percentile,
  printBar,
  printFigure,
  ROUNDS,
  startApiOnly,
  timed,
} from "../support.mjs";
import { historyRange, LARGEST, loadHistory, TIME_ZONE } from "./history.mjs";

const ASKED = 60;
const messageDimensions = [
  "channel_id",
  "template",
  "content_kind",
  "campaign_id",
  "error_class",
  "direction",
];
const questions = {
  counts: {
    metrics: "messages_attempted,messages_sent,messages_delivered,messages_read,delivery_rate,read_rate",
    dimensions: messageDimensions,
  },
  percentiles: { metrics: "messages_sent,time_to_deliver_p95", dimensions: messageDimensions },
  conversations: {
    metrics: "conversations,response_rate,reply_time_p90",
    dimensions: ["channel_id", "started_by"],
  },
};

const rollupTables = [
  ...["rollups", "daily_rollups", "rollup_deltas", "dimension_sets"],
  ...[
    "conversation_rollups",
    "daily_conversation_rollups",
    "conversation_rollup_deltas",
    "conversation_sets",
  ],
  ...["flow_edges", "contact_cohorts"],
];
const stateTables = ["conversations", "conversation_turns", "contact_presence"];

/** The same numbers from the messages themselves, as one would write it without rollups. */
const plainSql = (dimension) => `
select date_trunc('day', anchor_at, '${TIME_ZONE}') as bucket, ${dimension},
  count(*) filter (where direction = 'outbound') as attempted,
  count(*) filter (where direction = 'outbound' and coalesce(sent_at, delivered_at, read_at, played_at) is not null) as sent,
  count(*) filter (where direction = 'outbound' and coalesce(delivered_at, read_at, played_at) is not null) as delivered,
  count(*) filter (where direction = 'outbound' and coalesce(read_at, played_at) is not null) as read
from messages where account_id = $1 and anchor_at >= $2 and anchor_at < $3
group by 1, 2 order by 1, 2`;

/** A year of ten million messages: how fast it is read, how much room it takes, and what it costs the fold. */
export async function run(dataDir) {
  const service = await startApiOnly(dataDir);
  const pool = createPool(
    { url: service.databaseUrl, name: "bench", size: 2, statementTimeoutMs: 0 },
    console.error,
  );
  const db = createDb(pool);
  try {
    const empty = await foldRates("empty");
    await loadHistory(service.databaseUrl);
    await reads();
    await sizes();
    const full = await foldRates(LARGEST);
    printFigure("fold_empty", empty, "events/s");
    printFigure("fold_with_history", full, "events/s");
    printBar("fold_with_history_vs_empty", full / empty, { bar: 0.8 });
  } finally {
    await pool.end();
    await service.stop();
  }

  async function reads() {
    const agent = new Agent({ keepAlive: true });
    const { to } = historyRange();
    const ask = (metrics, dimension, daysEarlier) => {
      const query = new URLSearchParams({
        account_id: LARGEST,
        metrics,
        from: historyRange(daysEarlier).from.toISOString(),
        to: to.toISOString(),
        interval: "day",
        time_zone: TIME_ZONE,
        ...(dimension ? { group_by: dimension } : {}),
      });
      return fetchBytes(service, `/analytics/metrics?${query}`, agent);
    };
    /** Milliseconds of each question; never the same one twice, unless it is asked a second time around. */
    const askAll = async ({ metrics, dimensions, earlier = 1 }) => {
      const times = [];
      for (let index = 0; index < ASKED; index++)
        times.push(
          1_000 * (await timed(() => ask(metrics, dimensions[index % dimensions.length], earlier + index))),
        );
      return times;
    };
    for (const asked of Object.values(questions)) await askAll({ ...asked, earlier: 1_000 });
    const uncached = await askAll(questions.counts);
    const cached = await askAll(questions.counts);
    const plain = [];
    const client = new pg.Client({ connectionString: service.databaseUrl });
    await client.connect();
    const { from } = historyRange();
    for (const dimension of questions.counts.dimensions)
      plain.push(1_000 * (await timed(() => client.query(plainSql(dimension), [LARGEST, from, to]))));
    await client.end();
    printFigure("year_by_day_median", median(uncached), "ms");
    printBar("year_by_day_p95", percentile(uncached, 0.95), { unit: "ms", bar: 50, atMost: true });
    printFigure("plain_sql_median", median(plain), "ms");
    printBar("year_by_day_vs_plain_sql", median(plain) / median(uncached), { bar: 100 });
    printBar("year_by_day_cached_p95", percentile(cached, 0.95), { unit: "ms", bar: 5, atMost: true });
    for (const name of ["percentiles", "conversations"])
      printFigure(`year_by_day_${name}_p95`, percentile(await askAll(questions[name]), 0.95), "ms");
    const contacts = await timed(() => ask("active_contacts,new_contacts", "", 400));
    printFigure("year_by_day_contacts", 1_000 * contacts, "ms");
    agent.destroy();
  }

  /** Everything that holds sums is a rollup. What there is a row of for each conversation or contact is shown beside. */
  async function sizes() {
    const bytes = async (tables) => {
      const text =
        "select sum(pg_total_relation_size(name::regclass))::float8 as bytes from unnest($1::text[]) name";
      return (await pool.query(text, [tables])).rows[0].bytes;
    };
    const rowsOf = async (table) =>
      (await pool.query(`select count(*)::float8 as rows from ${table}`)).rows[0].rows;
    const partitions = await pool.query(
      "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'messages'::regclass",
    );
    const messages = await bytes(partitions.rows.map(({ name }) => name));
    const count = await rowsOf("messages");
    printFigure("messages_size", messages / 1e6, "MB");
    for (const table of [...rollupTables, ...stateTables])
      printFigure(`${table}_size`, (await bytes([table])) / 1e6, "MB");
    const perRow = async (name, table, share = 1) =>
      printFigure(name, (count * share) / (await rowsOf(table)), "messages");
    await perRow("messages_per_quarter_row_90_days", "rollups", 90 / 365);
    await perRow("messages_per_daily_row", "daily_rollups");
    await perRow("messages_per_conversation", "conversations");
    printBar("rollup_bytes_vs_messages", (await bytes(rollupTables)) / messages, { bar: 0.5, atMost: true });
  }

  /** Events a second of folds into one account with what they leave to settle, the loops of the jobs. */
  async function foldRates(accountId) {
    const rates = [];
    for (let round = 0; round < ROUNDS; round++) {
      const events = traffic(accountId, "disturbed").map((event) => ({
        ...event,
        message_id: `${event.message_id}-${round}`,
      }));
      const stored = await ingest(service, streamsOf(events));
      await pool.query("checkpoint");
      let folded = 0;
      const seconds = await timed(async () => {
        folded = await foldAll(accountId);
      });
      if (folded !== stored) throw new Error(`${stored} events stored, ${folded} folded`);
      rates.push(folded / seconds);
    }
    return median(rates);
  }

  async function foldAll(accountId) {
    const limit = loadConfig({}).fold.batchSize;
    let events = 0;
    let after;
    for (;;) {
      const batch = await foldBatch(db, accountId, { after, limit });
      events += batch.events;
      after = batch.position;
      if (batch.caughtUp) break;
    }
    await settleRollups(db, accountId);
    return events;
  }
}
