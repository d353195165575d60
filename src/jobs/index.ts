import { aggregate } from "./aggregate.js";
import { buildExport } from "./build-export.js";
import { buildReport } from "./build-report.js";
import type { JobDefinition } from "./define-job.js";
import { findLag } from "./find-lag.js";
import { foldEvents } from "./fold-events.js";
import { maintainPartitions } from "./maintain-partitions.js";
import { sweepFiles } from "./sweep-files.js";
import { sweepRuns } from "./sweep-runs.js";

/** Every kind of work there is; the only list. A payload's type is its definition's own business. */
// biome-ignore lint/suspicious/noExplicitAny: definitions of different payloads share no other common type
export const jobs: readonly JobDefinition<any>[] = [
  foldEvents,
  buildReport,
  buildExport,
  aggregate,
  findLag,
  sweepRuns,
  sweepFiles,
  maintainPartitions,
];
