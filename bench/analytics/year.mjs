import { Agent } from "node:http";
import pg from "pg";
import { loadConfig } from "../../dist/config.js";
import { createDb, createPool } from "../../dist/db/client.js";
import { foldBatch } from "../../dist/db/fold/fold-account.js";
import { ingest, streamsOf, traffic } from "../core/traffic.mjs";
import {
  callJson,
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
const dimensions = ["channel_id", "template", "content_kind", "campaign_id", "error_class", "direction"];
const METRICS = "messages_attempted,messages_sent,messages_delivered,messages_read,delivery_rate,read_rate";

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
    const { from, to } = historyRange();
    const ask = (dimension, daysEarlier) => {
      const query = new URLSearchParams({
        account_id: LARGEST,
        metrics: METRICS,
        from: historyRange(daysEarlier).from.toISOString(),
        to: to.toISOString(),
        interval: "day",
        time_zone: TIME_ZONE,
        group_by: dimension,
      });
      return callJson(service, "GET", `/analytics/metrics?${query}`, undefined, agent);
    };
    for (const dimension of dimensions) await ask(dimension, 0);
    const uncached = [];
    for (let index = 0; index < ASKED; index++)
      uncached.push(1_000 * (await timed(() => ask(dimensions[index % dimensions.length], 1 + index))));
    const cached = [];
    for (let index = 0; index < ASKED; index++)
      cached.push(1_000 * (await timed(() => ask(dimensions[index % dimensions.length], 1 + index))));
    const client = new pg.Client({ connectionString: service.databaseUrl });
    await client.connect();
    const plain = [];
    for (const dimension of dimensions)
      plain.push(1_000 * (await timed(() => client.query(plainSql(dimension), [LARGEST, from, to]))));
    await client.end();
    agent.destroy();
    printFigure("year_by_day_median", median(uncached), "ms");
    printBar("year_by_day_p95", percentile(uncached, 0.95), { unit: "ms", bar: 50, atMost: true });
    printFigure("plain_sql_median", median(plain), "ms");
    printBar("year_by_day_vs_plain_sql", median(plain) / median(uncached), { bar: 100 });
    printBar("year_by_day_cached_p95", percentile(cached, 0.95), { unit: "ms", bar: 5, atMost: true });
  }

  async function sizes() {
    const { rows } = await pool.query(`
      select (select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'messages'::regclass)::float8 as messages,
             pg_total_relation_size('rollups')::float8 as quarters, pg_total_relation_size('daily_rollups')::float8 as days,
             pg_total_relation_size('dimension_sets')::float8 as sets,
             (select count(*) from messages)::float8 as message_count,
             (select count(*) from rollups)::float8 as quarter_count, (select count(*) from daily_rollups)::float8 as day_count`);
    const { messages, quarters, days, sets, message_count, quarter_count, day_count } = rows[0];
    const megabytes = (bytes) => bytes / 1_000_000;
    printFigure("messages_size", megabytes(messages), "MB");
    printFigure("quarter_rollups_size", megabytes(quarters), "MB");
    printFigure("daily_rollups_size", megabytes(days), "MB");
    printFigure("messages_per_quarter_row_90_days", (message_count * 90) / 365 / quarter_count, "messages");
    printFigure("messages_per_daily_row", message_count / day_count, "messages");
    printBar("rollup_bytes_vs_messages", (quarters + days + sets) / messages, { bar: 0.5, atMost: true });
  }

  /** Events a second of folds into one account, the loop of the job. */
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
      if (batch.caughtUp) return events;
    }
  }
}
