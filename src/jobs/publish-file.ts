import type { Readable } from "node:stream";
import type { FileAllowance } from "../db/queries/account-files.js";
import type { Artifact } from "../db/schema.js";
import { type Compression, compressed, compressedFiles } from "../exports/compression.js";
import type { JobContext } from "./define-job.js";
import { fits, quotaExceeded, requireRoom, roomFor } from "./file-room.js";
import type { RunWork } from "./with-run.js";
import type { RowStream } from "./write-rows.js";

const contentTypes = {
  csv: "text/csv; charset=utf-8",
  json: "application/json",
  ndjson: "application/x-ndjson",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  parquet: "application/vnd.apache.parquet",
  html: "text/html; charset=utf-8",
} as const;

interface FileKind {
  /** Without an extension. */
  name: string;
  format: keyof typeof contentTypes;
  compression?: Compression | undefined;
}

/** How a file is named and served. What is compressed inside of a Parquet file does not show. */
export function servedAs({ name, format, compression = "none" }: FileKind): {
  file_name: string;
  content_type: string;
} {
  const plain = { file_name: `${name}.${format}`, content_type: contentTypes[format] };
  if (compression === "none" || format === "parquet") return plain;
  const { suffix, contentType } = compressedFiles[compression];
  return { file_name: plain.file_name + suffix, content_type: contentType };
}

/**
 * Writes a stream of rows into the artifact store under a key of this claim alone, so that a worker which was taken
 * for dead cannot touch the file of its successor. Returns what the run's row will say of it.
 */
export async function publishFile(
  context: JobContext,
  work: RunWork,
  stream: RowStream,
  file: FileKind,
): Promise<Artifact> {
  const { claim, progress, signal } = work;
  const key = context.artifacts.newKey(`${claim.runId}/${claim.fence}`);
  const source = counted(compressed(stream.bytes, file.compression ?? "none"), stream.rows, progress);
  const room = await roomFor(context, claim.accountId).catch((error: unknown) => {
    source.destroy();
    throw error;
  });
  source.on("data", () => {
    if (!fits(room, progress.bytes)) source.destroy(quotaExceeded(room));
  });
  source.pause();
  const { bytes, sha256 } = await context.artifacts.write(key, source, signal);
  await requireRoom(context, claim.accountId, bytes).catch(async (error: unknown) => {
    await context.artifacts.remove(key);
    throw error;
  });
  progress.rows = stream.rows();
  return {
    segments: [{ key, bytes }],
    ...servedAs(file),
    bytes,
    rows: stream.rows(),
    sha256,
    expires_at: expiryOf(context, work, room),
  };
}

/** Counts what goes by, for whoever asks how far the work is. */
export function counted(
  bytes: Readable,
  rows: () => number,
  progress: { rows: number; bytes: number },
): Readable {
  bytes.on("data", (chunk: Buffer) => {
    progress.bytes += chunk.length;
    progress.rows = rows();
  });
  return bytes.pause();
}

/** Until when a file that is finished now can be downloaded. */
export function expiryOf({ now }: JobContext, { run }: RunWork, { retentionMs }: FileAllowance): string {
  const finishedMs = Math.max(run.created_at.getTime(), now().getTime());
  return new Date(finishedMs + retentionMs).toISOString();
}

/** `messages-2026-01-01-2026-02-01`: what it is and which days it is about. */
export function fileName(what: string, range: { from: Date; to: Date }): string {
  const day = (time: Date) => time.toISOString().slice(0, 10);
  return `${what}-${day(range.from)}-${day(range.to)}`;
}
