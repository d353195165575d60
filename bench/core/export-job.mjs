import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import {
  cpuSeconds,
  isInstalled,
  median,
  printBar,
  printFigure,
  startApi,
  startDatabase,
  timed,
} from "../support.mjs";
import { copyByPsql, seed } from "./export-rows.mjs";
import { endAfter, exportAsJob, forgetPeak, peakMegabytes, withWorkers } from "./export-runs.mjs";

const ROWS = Number(process.env.EXPORT_ROWS ?? 2_000_000);
const ROUNDS = Number(process.env.EXPORT_ROUNDS ?? 3);
const SMALL_ROWS = 100_000;
const EVERY_MS = 10_000;
/** One part, whatever the export. */
const ONE_PART = { EXPORT_PART_ROWS: "10000000" };

/**
 * Exports as jobs, from the worker's claim to the file on disk, SHA-256 and manifest included, against psql writing the result of
 * the same SELECT to a file. In one part by one worker, then in parts by two.
 */
export async function run(dataDir) {
  if (!isInstalled("psql")) return console.log("SKIPPED export_job: psql is not installed");
  const database = await startDatabase(dataDir);
  const control = new pg.Client({ connectionString: database.url });
  const settings = { DATABASE_URL: database.url };
  const api = await startApi(dataDir, settings);
  try {
    await control.connect();
    await seed(control, ROWS, EVERY_MS);
    const one = await withWorkers(dataDir, 1, { ...settings, ...ONE_PART }, async (workers) => {
      const rates = { csv: [], ndjson: [], parquet: [], xlsx: [], psql: [] };
      const peaks = {};
      for (let round = 0; round < ROUNDS; round++)
        for (const side of Object.keys(rates)) {
          for (const { pid } of workers) forgetPeak(pid);
          rates[side].push(ROWS / (side === "psql" ? await copy() : await exported(side)));
          peaks[side] = Math.max(peaks[side] ?? 0, ...workers.map(({ pid }) => peakMegabytes(pid)));
        }
      for (const side of Object.keys(rates)) printFigure(`export_job_${side}`, median(rates[side]), "rows/s");
      printFigure("export_job_psql_same_text", ROWS / (await copy({ sameText: true })), "rows/s");
      const ratio = (side) => median(rates[side].map((rate, round) => rate / rates.psql[round]));
      printBar("export_job_csv_vs_psql", ratio("csv"), { bar: 0.8 });
      printBar("export_job_ndjson_vs_psql", ratio("ndjson"), { bar: 0.45 });
      printBar("export_job_parquet", median(rates.parquet), { unit: "rows/s", bar: 100_000 });
      const cpu = await cpuOf(workers, () => exported("csv"));
      for (const [who, seconds] of Object.entries(cpu))
        printFigure(`export_job_csv_cpu_${who}`, (seconds * 1e6) / ROWS, "s per million rows");
      const perRow = {
        small: (await exported("csv", endAfter(SMALL_ROWS, EVERY_MS))) / SMALL_ROWS,
        large: median(rates.csv.map((rate) => 1 / rate)),
      };
      printFigure("export_job_time_per_row_small_vs_large", perRow.small / perRow.large, "ratio");
      for (const side of ["csv", "ndjson", "parquet", "xlsx"])
        printBar(`export_job_${side}_peak_rss`, peaks[side], { unit: "MB", bar: 200, atMost: true });
      return median(rates.csv);
    });
    const parts = await withWorkers(dataDir, 2, settings, async (workers) => {
      const rates = [];
      for (let round = 0; round < ROUNDS; round++) rates.push(ROWS / (await exported("csv")));
      printFigure("export_job_csv_in_parts", median(rates), "rows/s");
      for (const format of ["xlsx", "parquet"])
        printFigure(`export_job_${format}_in_parts`, ROWS / (await exported(format)), "rows/s");
      for (const { pid } of workers)
        printBar("export_job_in_parts_peak_rss", peakMegabytes(pid), { unit: "MB", bar: 200, atMost: true });
      return median(rates);
    });
    printBar("export_job_parts_vs_one", parts / one, { bar: 1 });
  } finally {
    await api.stop();
    await control.end();
    await database.stop();
  }

  async function exported(format, to) {
    const { rows, seconds } = await exportAsJob(api, format, to);
    if (to === undefined && rows !== ROWS) throw new Error(`${rows} rows`);
    return seconds;
  }

  function copy(options) {
    return timed(() => copyByPsql(database.url, join(dataDir, "psql.csv"), options));
  }

  /** Seconds of the processor that `work` costs the workers, and all processes of the database. */
  async function cpuOf(workers, work) {
    const { rows } = await control.query("select pg_backend_pid() as pid");
    const postmaster = Number(statOf(rows[0].pid)[1]);
    const used = () => ({
      worker: workers.reduce((seconds, { pid }) => seconds + cpuSeconds(pid), 0),
      postgres: databaseSeconds(postmaster),
    });
    const before = used();
    await work();
    const after = used();
    return Object.fromEntries(Object.keys(after).map((who) => [who, after[who] - before[who]]));
  }
}

const statOf = (pid) => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");

/** Of the processes that are there, and of those that have ended. */
function databaseSeconds(postmaster) {
  const TICKS_PER_SECOND = 100;
  const [endedUser, endedSystem] = statOf(postmaster).slice(13, 15).map(Number);
  const alive = readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && statOf(name)[1] === String(postmaster);
    } catch {
      return false;
    }
  });
  return alive.reduce(
    (seconds, pid) => seconds + (cpuSeconds(pid) || 0),
    (endedUser + endedSystem) / TICKS_PER_SECOND,
  );
}
