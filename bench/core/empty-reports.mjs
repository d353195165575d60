import { fork } from "node:child_process";
import { once } from "node:events";
import { Agent } from "node:http";
import { fileURLToPath } from "node:url";
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
const REPORTS = 2_000;
/** Both sides get to know their code before they are measured. */
const WARM_UP = 2_000;
const NO_OPS = { postgres: 3_000, redis: 20_000 };
const CLIENTS = 16;
const CONCURRENCY = 32;
const ROUNDS = 3;
const BARS = { postgres: 0.15, redis: 0.03 };

/**
 * Reports over no rows, from the POST to `succeeded` with a checked file, against jobs that do nothing on the same
 * queues, from their add to their end: what durability, fencing, a file and HTTP cost.
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
      await Promise.all([order(api, WARM_UP), allDone(control, WARM_UP)]);
      await control.query("delete from runs");
      return REPORTS / (await timed(() => Promise.all([order(api, REPORTS), allDone(control, REPORTS)])));
    } finally {
      await api.stop();
      await worker.stop();
    }
  }
}

async function order(api, count) {
  const agent = new Agent({ keepAlive: true });
  const report = {
    account_id: ACCOUNT,
    template: "message-log",
    format: "csv",
    from: "2026-01-01T00:00:00Z",
    to: "2026-01-02T00:00:00Z",
  };
  let next = 0;
  const client = async () => {
    while (next++ < count) await callJson(api, "POST", "/analytics/reports", report, agent);
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  agent.destroy();
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

/** Jobs a second from their add to their end, with one worker process and as many clients as the reports have. */
async function noOpRate(store, count, round) {
  const opened = openStore(store, "bench", createLog({ level: "error", process: "bench" }), "producer");
  const name = `no-op-${round}`;
  const queue = opened.queue(name);
  const parameters = JSON.stringify({ store, queue: name, concurrency: CONCURRENCY });
  const worker = fork(fileURLToPath(new URL("./no-op-worker.mjs", import.meta.url)), [parameters]);
  try {
    await once(worker, "message");
    let added = 0;
    const client = async (jobs) => {
      while (added++ < jobs) await queue.add("no-op", {}, { removeOnComplete: true });
    };
    const all = async (jobs) => {
      const ended = once(worker, "message");
      worker.send(jobs);
      added = 0;
      await Promise.all(Array.from({ length: CLIENTS }, () => client(jobs)));
      await ended;
    };
    await all(WARM_UP);
    return count / (await timed(() => all(count)));
  } finally {
    worker.disconnect();
    await queue.close();
    await opened.close();
  }
}
