import pg from "pg";
import { loadConfig } from "../../dist/config.js";
import { createDb, createPool } from "../../dist/db/client.js";
import { foldBatch } from "../../dist/db/fold/fold-account.js";
import { settleRollups } from "../../dist/db/rollups/settle.js";
import { SETTLE_ABOVE_ROWS } from "../../dist/jobs/settle-rollups.js";
import { median, printBar, printFigure, ROUNDS, startApiOnly, timed } from "../support.mjs";
import { ingest, streamsOf, traffic } from "./traffic.mjs";

const ORDERS = ["ordered", "disturbed"];

/** Whether one worker connection keeps up with everything that one API process takes in. */
export async function run(dataDir) {
  const service = await startApiOnly(dataDir);
  const control = new pg.Client({ connectionString: service.databaseUrl });
  const pool = createPool(
    { url: service.databaseUrl, name: "bench", size: 2, statementTimeoutMs: 0 },
    (error) => console.error(error),
  );
  const db = createDb(pool);
  try {
    await control.connect();
    await ingest(service, streamsOf(traffic("warm-up", "ordered").slice(0, 5_000)));
    await foldAll(db, "warm-up");
    const rounds = { ordered: [], disturbed: [] };
    for (let round = 0; round < ROUNDS; round++)
      for (const order of ORDERS) rounds[order].push(await measure(`${order}-${round}`, order));
    for (const order of ORDERS) {
      printFigure(`ingest_http_${order}`, median(rounds[order].map(({ ingested }) => ingested)), "events/s");
      printFigure(`fold_${order}`, median(rounds[order].map(({ folded }) => folded)), "events/s");
    }
    const ratio = (order) => median(rounds[order].map(({ ingested, folded }) => folded / ingested));
    printFigure("fold_vs_ingest_ordered", ratio("ordered"), "ratio");
    printBar("fold_vs_ingest", ratio("disturbed"), { bar: 1 });
  } finally {
    await Promise.all([control.end(), pool.end()]);
    await service.stop();
  }

  async function measure(accountId, order) {
    const events = traffic(accountId, order);
    const streams = streamsOf(events);
    let stored = 0;
    await control.query("checkpoint");
    const ingestSeconds = await timed(async () => {
      stored = await ingest(service, streams);
    });
    await control.query("checkpoint");
    let folded = 0;
    const foldSeconds = await timed(async () => {
      folded = await foldAll(db, accountId);
    });
    if (folded !== stored) throw new Error(`${stored} events stored, ${folded} folded`);
    return { ingested: events.length / ingestSeconds, folded: folded / foldSeconds };
  }
}

/**
 * What a worker's jobs do, the fold on one connection and the settling on another, until nothing is left to do; returns
 * how many events were read.
 */
async function foldAll(db, accountId) {
  const limit = loadConfig({}).fold.batchSize;
  let events = 0;
  let after;
  let settling;
  for (;;) {
    const batch = await foldBatch(db, accountId, { after, limit });
    events += batch.events;
    after = batch.position;
    if (batch.caughtUp) break;
    if (batch.unsettled > SETTLE_ABOVE_ROWS)
      settling ??= settleRollups(db, accountId).finally(() => {
        settling = undefined;
      });
  }
  await settling;
  await settleRollups(db, accountId);
  return events;
}
