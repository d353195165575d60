import { Transform } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { createDb, createPool } from "../../dist/db/client.js";
import { createCopySource } from "../../dist/db/copy.js";
import { insertRun } from "../../dist/db/queries/runs.js";
import { createDiskStore } from "../../dist/exports/artifacts/disk.js";
import { buildExport } from "../../dist/jobs/build-export.js";
import { helpExport } from "../../dist/jobs/help-export.js";
import { createLog } from "../../dist/log.js";
import { median, printBar, printFigure, startDatabase, timed } from "../support.mjs";
import { ACCOUNT, columns, PERIOD, seed } from "./export-rows.mjs";

const ROWS = 1_000_000;
const ROUNDS = 3;
const PARTS = 4;
/** What one stream of a store far away takes. */
const BYTES_A_SECOND = 20 * 2 ** 20;

/** An export into a store that takes 20 MB/s a stream: in one part, and in four at a time. */
export async function run(dataDir) {
  const database = await startDatabase(dataDir);
  const control = new pg.Client({ connectionString: database.url });
  const pool = createPool({ url: database.url, name: "bench", size: 20, statementTimeoutMs: 0 }, () => {});
  try {
    await control.connect();
    await seed(control, ROWS);
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++)
      rounds.push({
        one: await timed(() => build(ROWS, 1)),
        parts: await timed(() => build(ROWS / PARTS, PARTS)),
      });
    printFigure("export_throttled_one_part", median(rounds.map(({ one }) => one)), "s");
    printFigure("export_throttled_four_parts", median(rounds.map(({ parts }) => parts)), "s");
    printBar("export_parts_speedup_throttled", median(rounds.map(({ one, parts }) => one / parts)), {
      bar: 3,
    });
  } finally {
    await pool.end();
    await control.end();
    await database.stop();
  }

  async function build(exportPartRows, exportParallelism) {
    const db = createDb(pool);
    const run = await insertRun(db, {
      ...{ accountId: ACCOUNT, kind: "export", priority: "bulk", requestedBy: "bench", maxWaiting: 1_000 },
      params: {
        ...{ account_id: ACCOUNT, dataset: "messages", format: "csv", ...PERIOD },
        columns: columns.map(({ name }) => name),
      },
    });
    const disk = createDiskStore(dataDir);
    const context = {
      db,
      copy: createCopySource(pool),
      artifacts: {
        ...disk,
        write: (key, source, signal) => disk.write(key, source.pipe(throttle()), signal),
      },
      log: createLog({ level: "warn", process: "bench" }),
      signal: new AbortController().signal,
      now: () => new Date(),
      admit: async () => {},
      // As long as there are parts, others help; here, in the same process.
      enqueue: async (job, payload) => {
        if (job === helpExport) void job.run(payload, context);
      },
      settings: { exportPartRows, exportParallelism, artifactRetentionMs: 3_600_000, artifactQuotaBytes: 0 },
      job: { id: "bench", addedAt: new Date(), isLastAttempt: true },
      worker: "bench",
    };
    const key = { accountId: ACCOUNT, runId: run.run_id, generation: run.generation };
    const done = await buildExport.run(key, context);
    if (done.rows !== ROWS) throw new Error(JSON.stringify(done));
  }
}

/** Lets bytes through at the pace of a slow network. */
function throttle() {
  const startedAt = performance.now();
  let bytes = 0;
  return new Transform({
    async transform(chunk, _encoding, done) {
      bytes += chunk.length;
      const early = (bytes / BYTES_A_SECOND) * 1000 - (performance.now() - startedAt);
      if (early > 1) await delay(early);
      done(null, chunk);
    },
  });
}
