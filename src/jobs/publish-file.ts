import type { Artifact } from "../db/schema.js";
import type { JobContext } from "./define-job.js";
import type { RunWork } from "./with-run.js";
import type { RowStream } from "./write-messages.js";

const contentTypes = {
  csv: "text/csv; charset=utf-8",
  json: "application/json",
  ndjson: "application/x-ndjson",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
} as const;

/** How a file of this format is served. */
export const contentTypeOf = (format: keyof typeof contentTypes): string => contentTypes[format];

/**
 * Writes a stream of rows into the artifact store under a key of this claim alone, so that a worker which was taken
 * for dead cannot touch the file of its successor. Returns what the run's row will say of it.
 */
export async function publishFile(
  context: JobContext,
  { run, claim, progress, signal }: RunWork,
  stream: RowStream,
  file: { name: string; format: keyof typeof contentTypes },
): Promise<Artifact> {
  const key = `${claim.runId}/${claim.fence}`;
  stream.bytes.on("data", (chunk: Buffer) => {
    progress.bytes += chunk.length;
    progress.rows = stream.rows();
  });
  stream.bytes.pause();
  const { bytes, sha256 } = await context.artifacts.write(key, stream.bytes, signal);
  progress.rows = stream.rows();
  progress.bytes = bytes;
  return {
    key,
    file_name: `${file.name}.${file.format}`,
    content_type: contentTypeOf(file.format),
    bytes,
    rows: stream.rows(),
    sha256,
    expires_at: new Date(
      Math.max(run.created_at.getTime(), context.now().getTime()) + context.settings.artifactRetentionMs,
    ).toISOString(),
  };
}

/** `messages-2026-01-01-2026-02-01`: what it is and which days it is about. */
export function fileName(what: string, range: { from: Date; to: Date }): string {
  const day = (time: Date) => time.toISOString().slice(0, 10);
  return `${what}-${day(range.from)}-${day(range.to)}`;
}
