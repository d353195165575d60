import pg from "pg";
import { printBar, printFigure, startApi, startDatabase } from "../support.mjs";
import { seed } from "./export-rows.mjs";
import { endAfter, exportAsJob, forgetPeak, peakMegabytes, withWorkers } from "./export-runs.mjs";

const ROWS = Number(process.env.EXPORT_SCALE_ROWS ?? 10_000_000);
const SIZES = [ROWS / 100, ROWS / 5, ROWS];
/** So that as many as these fit into the year. */
const EVERY_MS = 3_000;
const ROUNDS = 3;

/** Exports as jobs by one worker, a hundred times as many rows: time for a row, and memory of the worker. */
export async function run(dataDir) {
  const database = await startDatabase(dataDir);
  const control = new pg.Client({ connectionString: database.url });
  const settings = { DATABASE_URL: database.url };
  const api = await startApi(dataDir, settings);
  try {
    await control.connect();
    await seed(control, ROWS, EVERY_MS);
    await withWorkers(dataDir, 1, settings, async ([{ pid }]) => {
      // So that what is loaded when it is first needed is there.
      for (const format of ["csv", "ndjson", "parquet", "xlsx"])
        await exportAsJob(api, format, endAfter(SIZES[0], EVERY_MS));
      for (const format of ["csv", "ndjson", "parquet", "xlsx"]) {
        const measured = [];
        for (const size of SIZES) measured.push(await measure(format, size, pid));
        const [small, middle, large] = measured;
        for (const one of measured)
          printFigure(`export_scale_${format}_${one.rows}`, one.microseconds, "us/row");
        printFigure(
          `export_scale_${format}_time_per_row_small`,
          small.microseconds / large.microseconds,
          "of large",
        );
        printFigure(
          `export_scale_${format}_time_per_row_middle`,
          middle.microseconds / large.microseconds,
          "of large",
        );
        printBar(`export_scale_${format}_peak_rss`, large.peak, { unit: "MB", bar: 200, atMost: true });
        printBar(`export_scale_${format}_peak_rss_growth`, large.peak / middle.peak, {
          bar: 1.1,
          atMost: true,
        });
      }
    });
  } finally {
    await api.stop();
    await control.end();
    await database.stop();
  }

  /** The best of some rounds where they are short: what else the machine does shows there most. */
  async function measure(format, size, pid) {
    const rounds = size === ROWS ? 1 : ROUNDS;
    const to = endAfter(size, EVERY_MS);
    let best = Number.POSITIVE_INFINITY;
    let peak = 0;
    let rows = 0;
    for (let round = 0; round < rounds; round++) {
      forgetPeak(pid);
      const done = await exportAsJob(api, format, to);
      rows = done.rows;
      best = Math.min(best, (done.seconds * 1e6) / rows);
      peak = Math.max(peak, peakMegabytes(pid));
    }
    return { rows, microseconds: best, peak };
  }
}
