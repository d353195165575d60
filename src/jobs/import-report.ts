import { once } from "node:events";
import { PassThrough } from "node:stream";
import type { Artifact } from "../db/schema.js";
import { csvHead, csvLine } from "../exports/csv.js";
import type { RowProblem } from "../sources/imports/import-row.js";
import type { JobContext } from "./define-job.js";
import { publishFile } from "./publish-file.js";
import { removeFile } from "./remove-file.js";
import type { RunWork } from "./with-run.js";

const columns = ["row", "field", "code", "message"].map((name) => ({ name }));
const types = ["integer", "text", "text", "text"] as const;

/** The file that says which rows of an import were refused and why. Nothing but the header when none was. */
export interface ImportReport {
  add(row: number, problems: readonly RowProblem[]): Promise<void>;
  /** Finishes the file; resolves when it is stored. */
  publish(): Promise<Artifact>;
  /** Stores nothing. */
  abandon(): Promise<void>;
}

export function startReport(context: JobContext, work: RunWork): ImportReport {
  const bytes = new PassThrough();
  let lines = 0;
  const stored = publishFile(
    context,
    // The run's progress is that of the file which is read.
    { ...work, progress: { rows: 0, bytes: 0 } },
    { bytes, rows: () => lines },
    { name: `import-problems-${work.run.run_id}`, format: "csv" },
  );
  // Looked at when the report is published; a failure until then shows as a stream that takes no more.
  stored.catch(() => {});
  bytes.on("error", () => {});
  bytes.write(csvHead(columns));
  return {
    async add(row, problems) {
      let ready = true;
      for (const { field, code, message } of problems) {
        ready = bytes.write(csvLine([row, field, code, message], types));
        lines += 1;
      }
      if (bytes.destroyed) await stored;
      else if (!ready) await Promise.race([once(bytes, "drain"), stored]);
    },
    async publish() {
      bytes.end();
      return stored;
    },
    async abandon() {
      bytes.destroy(new Error("the import was broken off"));
      await stored.then((artifact) => removeFile(context.artifacts, artifact)).catch(() => {});
    },
  };
}
