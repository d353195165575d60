import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { insertRun } from "../../dist/db/queries/runs.js";
import { buildExport } from "../../dist/jobs/build-export.js";
import { helpExport } from "../../dist/jobs/help-export.js";
import { median, printBar, printFigure, startDatabase, timed } from "../support.mjs";
import { ACCOUNT, columns, PERIOD, seed } from "./export-rows.mjs";
import { slowContext } from "./slow-store.mjs";

const ROWS = 1_000_000;
const ROUNDS = 3;
const PARTS = 4;
const HELPER = fileURLToPath(new URL("slow-store-helper.mjs", import.meta.url));

/** An export into a store that takes 20 MB/s a stream: in one part, and in four at a time by two processes. */
export async function run(dataDir) {
  const database = await startDatabase(dataDir);
  const control = new pg.Client({ connectionString: database.url });
  const store = { databaseUrl: database.url, dataDir };
  const inParts = { ...store, partRows: ROWS / PARTS, parallelism: PARTS };
  const second = fork(HELPER, [JSON.stringify(inParts)]);
  const ready = once(second, "message");
  const one = slowContext({ ...store, partRows: ROWS, parallelism: 1 });
  // Two parts each: those who help are numbered from 1.
  const four = slowContext(inParts, (payload) => {
    if (payload.helper === 1) void helpExport.run(payload, four);
    else second.send(payload);
  });
  try {
    await control.connect();
    await seed(control, ROWS);
    await ready;
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++)
      rounds.push({ one: await timed(() => build(one)), parts: await timed(() => build(four)) });
    printFigure("export_throttled_one_part", median(rounds.map(({ one }) => one)), "s");
    printFigure("export_throttled_four_parts", median(rounds.map(({ parts }) => parts)), "s");
    printBar("export_parts_speedup_throttled", median(rounds.map(({ one, parts }) => one / parts)), {
      bar: 3,
    });
  } finally {
    second.kill();
    await Promise.all([one, four].map(({ pool }) => pool.end()));
    await control.end();
    await database.stop();
  }
}

async function build(context) {
  const run = await insertRun(context.db, {
    ...{ accountId: ACCOUNT, kind: "export", priority: "bulk", requestedBy: "bench", maxWaiting: 1_000 },
    params: {
      ...{ account_id: ACCOUNT, dataset: "messages", format: "csv", ...PERIOD },
      columns: columns.map(({ name }) => name),
    },
  });
  const key = { accountId: ACCOUNT, runId: run.run_id, generation: run.generation };
  const done = await buildExport.run(key, context);
  if (done.rows !== ROWS) throw new Error(JSON.stringify(done));
}
