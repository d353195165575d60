import { Worker } from "bullmq";
import pg from "pg";
import { openStore } from "../../dist/jobs/queue.js";
import { createLog } from "../../dist/log.js";
import {
  callJson,
  median,
  printBar,
  printFigure,
  startApi,
  startDatabase,
  startRedis,
  startWorker,
  timed,
} from "../support.mjs";

const ACCOUNT = "empty";
const REPORTS = 1_000;
const NO_OPS = { postgres: 3_000, redis: 20_000 };
const CLIENTS = 16;
const CONCURRENCY = 32;
const ROUNDS = 3;
const BARS = { postgres: 0.15, redis: 0.03 };

/**
 * Reports over no rows, from the POST to `succeeded` with a checked file, against jobs that do nothing on the same
 * queues: what durability, fencing, a file and HTTP cost.
 */
export async function run(dataDir) {
  const database = await startDatabase(dataDir);
  const redis = await startRedis(dataDir);
  try {
    await measureStore(
      "postgres",
      { DATABASE_URL: database.url },
      { kind: "postgres", url: database.url, poolSize: 20 },
    );
    if (redis)
      await measureStore(
        "redis",
        { DATABASE_URL: database.url, REDIS_URL: redis.url },
        { kind: "redis", url: redis.url },
      );
    else console.log("SKIPPED empty_reports_vs_no_ops_redis: redis-server is not installed");
  } finally {
    await redis?.stop();
    await database.stop();
  }

  async function measureStore(name, settings, store) {
    const reports = [];
    const noOps = [];
    const control = new pg.Client({ connectionString: database.url });
    await control.connect();
    try {
      await control.query("insert into accounts (account_id) values ($1) on conflict do nothing", [ACCOUNT]);
      for (let round = 0; round < ROUNDS; round++) {
        noOps.push(await noOpRate(store, NO_OPS[name], round));
        reports.push(await reportRate(settings, control));
      }
    } finally {
      await control.end();
    }
    printFigure(`empty_reports_${name}`, median(reports), "runs/s");
    printFigure(`no_op_jobs_${name}`, median(noOps), "jobs/s");
    const ratios = reports.map((rate, round) => rate / noOps[round]);
    printBar(`empty_reports_vs_no_ops_${name}`, median(ratios), { bar: BARS[name] });
  }

  async function reportRate(settings, control) {
    const env = { ...settings, WORKER_CONCURRENCY: String(CONCURRENCY) };
    const worker = await startWorker(dataDir, env);
    const api = await startApi(dataDir, env);
    try {
      await control.query("delete from runs");
      await order(api, CLIENTS);
      await allDone(control, CLIENTS);
      await control.query("delete from runs");
      return REPORTS / (await timed(() => Promise.all([order(api, REPORTS), allDone(control, REPORTS)])));
    } finally {
      await api.stop();
      await worker.stop();
    }
  }
}

async function order(api, count) {
  let next = 0;
  const client = async () => {
    while (next++ < count)
      await callJson(api, "POST", "/analytics/reports", {
        account_id: ACCOUNT,
        template: "message-log",
        format: "csv",
        from: "2026-01-01T00:00:00Z",
        to: "2026-01-02T00:00:00Z",
      });
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** Asks the table, so that the polling costs the service nothing. */
async function allDone(control, count) {
  for (;;) {
    const { rows } = await control.query(
      "select count(*) filter (where status = 'succeeded') as done, count(*) filter (where status = 'failed') as failed from runs",
    );
    if (Number(rows[0].failed) > 0) throw new Error("a report failed");
    if (Number(rows[0].done) >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Jobs a second that one worker works off when all of them wait already. */
async function noOpRate(store, count, round) {
  const log = createLog({ level: "error", process: "bench" });
  const connection = openStore(store, "bench", log, "worker");
  const name = `no-op-${round}`;
  const queue = connection.queue(name);
  const { connection: opened, backend } = connection.workerArguments;
  let worker;
  try {
    const batch = Array.from({ length: 500 }, () => ({
      name: "no-op",
      data: {},
      opts: { removeOnComplete: true },
    }));
    for (let added = 0; added < count; added += batch.length) await queue.addBulk(batch);
    let done = 0;
    return (
      count /
      (await timed(
        () =>
          new Promise((resolve) => {
            const settings = { connection: opened, concurrency: CONCURRENCY };
            const work = async () => {};
            worker = backend ? new Worker(name, work, settings, backend) : new Worker(name, work, settings);
            worker.on("completed", () => ++done === count && resolve());
          }),
      ))
    );
  } finally {
    await worker?.close();
    await queue.close();
    await connection.close();
  }
}
