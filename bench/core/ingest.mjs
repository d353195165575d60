import pg from "pg";
import { checkEvent } from "../../dist/events/check-event.js";
import { median, printBar, printFigure, ROUNDS, startApiOnly, timed } from "../support.mjs";
import { ingest, STREAMS, streamsOf, traffic } from "./traffic.mjs";

const PEER_BATCH = 1_000;
const FACT_ORDER_EPOCH_MS = Date.UTC(2009, 0, 1);

/** How fast events become durable over HTTP, compared with a bare insert of the same rows by the same client library. */
export async function run(dataDir) {
  const service = await startApiOnly(dataDir);
  const control = new pg.Client({ connectionString: service.databaseUrl });
  const clients = Array.from(
    { length: STREAMS },
    () => new pg.Client({ connectionString: service.databaseUrl }),
  );
  try {
    await Promise.all([control, ...clients].map((client) => client.connect()));
    // Neither side pays for the first connections and plans.
    await ingest(service, streamsOf(traffic("warm-up", "ordered").slice(0, 5_000)));
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push(await measure(round, service, control, clients));
    const http = median(rounds.map((rates) => rates.http));
    const insert = median(rounds.map((rates) => rates.insert));
    printFigure("ingest_http", http, "events/s");
    printFigure("ingest_bare_insert", insert, "events/s");
    printBar("ingest_http_vs_insert", median(rounds.map((rates) => rates.http / rates.insert)), { bar: 0.5 });
  } finally {
    await Promise.all([control, ...clients].map((client) => client.end()));
    await service.stop();
  }
}

async function measure(round, service, control, clients) {
  // Without repetitions: bare inserts of the same row from two connections would deadlock, ours are sorted.
  const ours = traffic(`http-${round}`, "late");
  const streams = streamsOf(ours);
  const batches = peerBatches(traffic(`insert-${round}`, "late"));
  const rates = {};
  const sides = {
    http: () => ingest(service, streams),
    insert: () => insertBare(clients, batches),
  };
  // Who goes first takes turns: the tables grow, and a checkpoint may be due.
  for (const side of round % 2 === 0 ? ["http", "insert"] : ["insert", "http"]) {
    await control.query("checkpoint");
    rates[side] = ours.length / (await timed(sides[side]));
  }
  const stored = await control.query(
    "select account_id, count(*)::integer as n from message_events where account_id = any($1) group by 1",
    [[`http-${round}`, `insert-${round}`]],
  );
  if (stored.rows.length !== 2 || stored.rows[0].n !== stored.rows[1].n)
    throw new Error(`the two sides stored different numbers of events: ${JSON.stringify(stored.rows)}`);
  return rates;
}

async function insertBare(clients, batches) {
  let next = 0;
  await Promise.all(
    clients.map(async (client) => {
      while (next < batches.length) {
        const { text, values } = batches[next++];
        await client.query(text, values);
      }
    }),
  );
}

/** Column of `message_events`, its type as an array parameter, its value of a row, and how it is read back if not as is. */
const columns = [
  ["account_id", "text", (row) => row.accountId],
  ["occurred_at", "timestamptz", (row) => isoWithQuality(row)],
  ["event_key", "uuid", (row) => row.eventKey],
  ["fact_order", "bigint", (row) => factOrder(row)],
  ["type", "event_type", (row) => row.type],
  ["direction", "message_direction", (row) => row.direction],
  ["time_quality", "smallint", (row) => row.timeQuality],
  ["text_length", "integer", (row) => row.textLength],
  ["message_id", "text", (row) => row.messageId],
  ["channel_id", "text", (row) => row.channelId],
  ["chat_id", "text", (row) => row.chatId],
  ["chat_kind", "text", (row) => row.chatKind],
  ["contact_id", "text", (row) => row.contactId],
  ["content_kind", "text", (row) => row.contentKind],
  ["reply_to", "text", (row) => row.replyTo],
  ["origin", "text", (row) => row.origin],
  ["agent_id", "text", (row) => row.agentId],
  ["template", "text", (row) => row.template],
  ["template_language", "text", (row) => row.templateLanguage],
  ["template_category", "text", (row) => row.templateCategory],
  ["campaign_id", "text", (row) => row.campaignId],
  ["error_code", "text", (row) => row.errorCode],
  ["error_class", "text", (row) => row.errorClass],
  ["error_title", "text", (row) => row.errorTitle],
  ["tags", "text", (row) => row.tags, "tags::text[]"],
  ["pricing", "text", (row) => row.pricing, "pricing::jsonb"],
];

const isoWithQuality = ({ occurredAtMs, timeQuality }) =>
  new Date(occurredAtMs).toISOString().replace("Z", `00${timeQuality}Z`);

const factOrder = ({ occurredAtMs, timeQuality, keyHash }) =>
  (
    (BigInt(timeQuality) << 61n) |
    (BigInt(occurredAtMs - FACT_ORDER_EPOCH_MS) << 19n) |
    BigInt(keyHash)
  ).toString();

/** The statement somebody would write by hand: only the columns that this traffic has, the arrays as the library takes them. */
function peerBatches(events) {
  const now = Date.now();
  const rows = events.map((event) => checkEvent(event, now));
  const text = `insert into message_events (${columns.map(([name]) => name).join(", ")})
    select ${columns.map(([name, , , read]) => read ?? name).join(", ")}
    from unnest(${columns.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ")})
      as event(${columns.map(([name]) => name).join(", ")})
    on conflict do nothing`;
  const batches = [];
  for (let start = 0; start < rows.length; start += PEER_BATCH) {
    const slice = rows.slice(start, start + PEER_BATCH);
    batches.push({ text, values: columns.map(([, , value]) => slice.map((row) => value(row) ?? null)) });
  }
  return batches;
}
