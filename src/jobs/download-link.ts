import type { Run } from "../db/queries/runs.js";
import { runPaths } from "./present-run.js";

/**
 * Where a run's file can be had, as whoever is told of the run by webhook or mail reads it: a path of the API, which asks
 * for a key. Undefined: there is no file.
 */
export async function downloadLink(run: Run): Promise<string | undefined> {
  if (!run.artifact || run.artifact.removed) return undefined;
  return `${runPaths[run.kind]}/${run.run_id}/download`;
}
