import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { code, table } from "./table.mjs";

export async function renderJobs(root) {
  const file = join(root, "dist/jobs/index.js");
  if (!existsSync(file)) return undefined;
  const { jobs } = await import(pathToFileURL(file).href);
  const rows = jobs.map(({ kind, queue, attempts, backoff, timeoutMs, schedule }) => [
    code(kind),
    queue,
    attempts,
    `${backoff.type}, ${seconds(backoff.delayMs)}`,
    seconds(timeoutMs),
    schedule ? `${code(schedule.cron)} (UTC)` : "on demand",
  ]);
  return table(["kind", "queue", "attempts", "pause before a retry", "time-out", "runs"], rows.sort());
}

const seconds = (ms) => `${ms / 1000} s`;
