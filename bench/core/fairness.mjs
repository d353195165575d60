import { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import {
  callJson,
  median,
  printBar,
  printFigure,
  startApi,
  startDatabase,
  startRedis,
  startWorker,
} from "../support.mjs";

const EXPORTS = 1_000;
const CLIENTS = 16;
const IDLE_REPORTS = 60;
const ROUNDS = 3;
/** Messages of the flooding account: an export of them is some tenth of a second of work. */
const ROWS = 10_000;

/**
 * One account asks for a thousand exports, then another for one export and one report: seconds until these start, against
 * the time that one of the exports takes and against the same with everything admitted at once.
 */
export async function run(dataDir) {
  const database = await startDatabase(dataDir);
  const redis = await startRedis(dataDir);
  const control = new pg.Client({ connectionString: database.url });
  try {
    await control.connect();
    await seed(control);
    await measureStore("postgres", { DATABASE_URL: database.url });
    if (redis) await measureStore("redis", { DATABASE_URL: database.url, REDIS_URL: redis.url });
    else console.log("SKIPPED fairness_redis: redis-server is not installed");
  } finally {
    await control.end();
    await redis?.stop();
    await database.stop();
  }

  async function measureStore(name, settings) {
    const fair = [];
    for (let round = 0; round < ROUNDS; round++) fair.push(await flooded(settings, true));
    const queued = await flooded(settings, false);
    const of = (key) => median(fair.map((one) => one[key]));
    printFigure(`fairness_job_${name}`, of("jobSeconds"), "seconds");
    printFigure(`fairness_export_starts_after_${name}`, of("exportSeconds"), "seconds");
    printFigure(`fairness_report_starts_after_${name}`, of("reportSeconds"), "seconds");
    printFigure(`first_in_first_out_export_starts_after_${name}`, queued.exportSeconds, "seconds");
    printBar(`fairness_export_delay_vs_job_${name}`, of("exportSeconds") / of("jobSeconds"), {
      bar: 1,
      atMost: true,
    });
    printBar(`fairness_report_delay_vs_job_${name}`, of("reportSeconds") / of("jobSeconds"), {
      bar: 1,
      atMost: true,
    });
    printFigure(
      `fairness_vs_first_in_first_out_${name}`,
      queued.exportSeconds / of("exportSeconds"),
      "times",
    );
    printFigure(`idle_report_starts_after_${name}`, (await idle(settings)) * 1000, "ms");
  }

  /** Seconds from their orders to the starts of the other account's export and report, and what one job takes. */
  async function flooded(settings, admission) {
    await control.query("truncate runs; truncate workers; update run_lines set turn = 0, mean_ms = null");
    const [api, worker] = [await startApi(dataDir, settings), await startWorker(dataDir, settings)];
    try {
      // First in, first out is what admission was before: every run in the queue at once.
      if (!admission)
        await control.query(
          "insert into workers (worker_id, name, slots, seen_at) values (gen_random_uuid(), 'bench', 100000, now() + interval '1 hour')",
        );
      await flood(api, admission ? {} : { max_running: 10_000 });
      const exported = await order(api, "exports", "other");
      const reported = await order(api, "reports", "other");
      const times = {
        exportSeconds: await startedAfter(exported.id),
        reportSeconds: await startedAfter(reported.id),
      };
      const { rows } = await control.query(
        "select avg(extract(epoch from finished_at - started_at))::float8 as seconds from runs where account_id = 'flooding' and status = 'succeeded'",
      );
      return { ...times, jobSeconds: rows[0].seconds };
    } finally {
      await control.query(
        "update runs set cancel_requested_at = now(), status = 'cancelled' where status = 'queued'",
      );
      await worker.stop();
      await api.stop();
    }
  }

  async function flood(api, quotas) {
    await control.query("update accounts set quotas = $1 where account_id = 'flooding'", [
      JSON.stringify(quotas),
    ]);
    const agent = new Agent({ keepAlive: true });
    let next = 0;
    const client = async () => {
      while (next++ < EXPORTS) await order(api, "exports", "flooding", agent);
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    agent.destroy();
  }

  async function startedAfter(id) {
    for (;;) {
      const { rows } = await control.query(
        "select extract(epoch from started_at - created_at)::float8 as seconds from runs where run_id = $1 and started_at is not null",
        [id],
      );
      if (rows[0]) return rows[0].seconds;
      await delay(20);
    }
  }

  /** Seconds from the order to the start of a report while nothing else is done. */
  async function idle(settings) {
    await control.query("truncate runs; truncate workers");
    const [api, worker] = [await startApi(dataDir, settings), await startWorker(dataDir, settings)];
    try {
      const seconds = [];
      for (let n = 0; n < IDLE_REPORTS; n++)
        seconds.push(await startedAfter((await order(api, "reports", "other")).id));
      return median(seconds);
    } finally {
      await worker.stop();
      await api.stop();
    }
  }
}

async function seed(control) {
  await control.query("insert into accounts (account_id) values ('flooding'), ('other')");
  await control.query(
    `insert into messages (account_id, message_id, anchor_at, sent_at, delivered_at, updated_at, direction)
     select 'flooding', 'm-' || n, at, at, at + interval '3 s', at, 'outbound'
     from (select n, '2026-01-01'::timestamptz + n * interval '1 s' as at from generate_series(1, $1::integer) n) times`,
    [ROWS],
  );
  await control.query("analyze messages");
}

const order = (api, resource, account, agent) =>
  callJson(
    api,
    "POST",
    `/analytics/${resource}`,
    {
      account_id: account,
      ...(resource === "exports" ? { dataset: "messages" } : { template: "message-log" }),
      format: "csv",
      from: "2026-01-01T00:00:00Z",
      to: "2026-01-02T00:00:00Z",
    },
    agent,
  );
