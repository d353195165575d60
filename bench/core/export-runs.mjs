import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { callJson, startWorker } from "../support.mjs";
import { ACCOUNT, columns, PERIOD } from "./export-rows.mjs";

const MEGABYTE = 2 ** 20;
/** Ranges of time begin and end where a quarter of an hour does. */
const QUARTER_MS = 900_000;

export async function withWorkers(dataDir, count, settings, work) {
  const workers = [];
  try {
    for (let started = 0; started < count; started++) workers.push(await startWorker(dataDir, settings));
    return await work(workers);
  } finally {
    for (const worker of workers) await worker.stop();
  }
}

/** The end of a range from the beginning that holds so many rows, of which one comes every `everyMs`. */
export const endAfter = (rows, everyMs) =>
  new Date(Date.parse(PERIOD.from) + Math.ceil((rows * everyMs + 1) / QUARTER_MS) * QUARTER_MS).toISOString();

/** Exports the messages as a job; how many rows there were, and the seconds from the worker's claim to the end of the run. */
export async function exportAsJob(api, format, to = PERIOD.to) {
  const asked = await callJson(api, "POST", "/analytics/exports", {
    ...{ account_id: ACCOUNT, dataset: "messages", format, columns: columns.map(({ name }) => name) },
    ...{ from: PERIOD.from, to },
  });
  for (;;) {
    const run = await callJson(api, "GET", asked.links.self);
    if (run.status === "failed") throw new Error(JSON.stringify(run.error));
    if (run.status === "succeeded") {
      const seconds = (Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000;
      return { rows: run.artifact.rows, seconds };
    }
    await delay(50);
  }
}

/** The most memory that a process had since `forgetPeak`, as the kernel remembers it. */
export const peakMegabytes = (pid) => {
  const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return (Number(kilobytes) * 1024) / MEGABYTE;
};

export const forgetPeak = (pid) => writeFileSync(`/proc/${pid}/clear_refs`, "5");
