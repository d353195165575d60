import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import {
  callJson,
  median,
  printBar,
  printFigure,
  startApi,
  startDatabase,
  startScheduler,
  startWorker,
} from "../support.mjs";

const ACCOUNT = "killed";
const ROWS = 400_000;
const ROUNDS = 3;
/** JOB_LOCK_MS and two looks for abandoned jobs, at their defaults. */
const LIMIT_SECONDS = 25;

/** A worker is killed while it writes a file: seconds until another one has made the same file. */
export async function run(dataDir) {
  const database = await startDatabase(dataDir);
  const settings = { DATABASE_URL: database.url };
  const control = new pg.Client({ connectionString: database.url });
  const running = [];
  const started = async (starting) => {
    const process = await starting;
    running.push(process);
    return process;
  };
  try {
    await control.connect();
    await seed(control);
    const api = await started(startApi(dataDir, settings));
    await started(startScheduler(dataDir, settings));
    await started(startWorker(dataDir, settings));
    const { artifact: expected } = await finished(api, (await order(api)).id);
    const seconds = [];
    for (let round = 0; round < ROUNDS; round++) {
      await started(startWorker(dataDir, settings));
      const { id } = await order(api);
      const holder = await busyWorker(control, id);
      const killedAt = performance.now();
      running.find(({ pid }) => pid === holder).kill("SIGKILL");
      const { artifact, attempt } = await finished(api, id);
      seconds.push((performance.now() - killedAt) / 1000);
      if (artifact.sha256 !== expected.sha256 || attempt !== 2)
        throw new Error(`not the same file in a second attempt: ${JSON.stringify({ artifact, attempt })}`);
    }
    printFigure("killed_to_done_max", Math.max(...seconds), "seconds");
    printBar("killed_to_done", median(seconds), { unit: "seconds", bar: LIMIT_SECONDS, atMost: true });
  } finally {
    for (const process of running.reverse()) await process.stop();
    await control.end();
    await database.stop();
  }
}

async function seed(control) {
  await control.query("insert into accounts (account_id) values ($1)", [ACCOUNT]);
  await control.query(
    `insert into messages (account_id, message_id, anchor_at, sent_at, delivered_at, updated_at, direction)
     select $1, 'm-' || n, at, at, at + interval '3 s', at, 'outbound'
     from (select n, '2026-01-01'::timestamptz + n * interval '1 s' as at from generate_series(1, $2::integer) n) times`,
    [ACCOUNT, ROWS],
  );
  await control.query("analyze messages");
}

const order = (api) =>
  callJson(api, "POST", "/analytics/reports", {
    account_id: ACCOUNT,
    template: "message-log",
    format: "csv",
    from: "2026-01-01T00:00:00Z",
    to: "2026-02-01T00:00:00Z",
  });

async function finished(api, id) {
  for (;;) {
    const run = await callJson(api, "GET", `/analytics/reports/${id}`);
    if (run.status === "succeeded") return run;
    if (run.status !== "queued" && run.status !== "running") throw new Error(JSON.stringify(run));
    await delay(200);
  }
}

/** The process id of the worker that is well into the run. */
async function busyWorker(control, id) {
  for (;;) {
    const { rows } = await control.query(
      "select worker from runs where run_id = $1 and status = 'running' and progress_rows > 0",
      [id],
    );
    if (rows[0]) return Number(rows[0].worker.split("/").at(-1));
    await delay(20);
  }
}
