import type { RunKey } from "../db/queries/runs.js";
import type { RunKind } from "../db/schema.js";
import { aggregate } from "./aggregate.js";
import { buildExport } from "./build-export.js";
import { buildReport } from "./build-report.js";
import type { JobDefinition } from "./define-job.js";
import { importFile } from "./import-file.js";

/** The job that works on each kind of run. */
export const runJobs: Readonly<Record<RunKind, JobDefinition<RunKey>>> = {
  report: buildReport,
  export: buildExport,
  aggregation: aggregate,
  import: importFile,
};
