import { aggregate } from "./aggregate.js";
import { buildExport } from "./build-export.js";
import { buildReport } from "./build-report.js";
import type { AnyJob } from "./define-job.js";
import { findLag } from "./find-lag.js";
import { foldEvents } from "./fold-events.js";
import { maintainPartitions } from "./maintain-partitions.js";
import { sweepFiles } from "./sweep-files.js";
import { sweepRuns } from "./sweep-runs.js";

/** Every kind of work there is; the only list. */
export const jobs: readonly AnyJob[] = [
  foldEvents,
  buildReport,
  buildExport,
  aggregate,
  findLag,
  sweepRuns,
  sweepFiles,
  maintainPartitions,
];
