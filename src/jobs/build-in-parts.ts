import { addAbortSignal, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Rows } from "../db/datasets/dataset.js";
import type { SharedSnapshot } from "../db/held-snapshot.js";
import {
  type ExportPart,
  type PartsKey,
  partsProgress,
  readParts,
  reopenParts,
} from "../db/queries/export-parts.js";
import type { Artifact } from "../db/schema.js";
import { type FileSegment, openSegments } from "../exports/artifacts/segments.js";
import { checkFile } from "../exports/check-file.js";
import type { PartedFormat } from "../exports/file-parts.js";
import type { Measure } from "../exports/measure.js";
import { buildNextPart } from "./build-part.js";
import type { JobContext } from "./define-job.js";
import { fits, quotaExceeded, requireRoom, roomFor } from "./file-room.js";
import { helpExport, helpId } from "./help-export.js";
import { expiryOf } from "./publish-file.js";
import type { RunWork } from "./with-run.js";

/** How often a worker that has no part left to build looks for those of others. */
const WAIT_MS = 250;
/** Calls to the store at a time, to look at the files of parts. */
const SIZES_AT_ONCE = 16;
/** What is longer than this becomes a file of the store: it would weigh on the run's row. */
const MAX_INLINE_BYTES = 16_384;

export type BuiltFile = Pick<Artifact, "segments" | "bytes" | "rows" | "sha256" | "expires_at"> & {
  content: Omit<NonNullable<Artifact["content"]>, "columns">;
};

/**
 * Builds the parts of a laid-out file that are not done, with the help of other workers, and joins them without writing
 * them again: all that is left is to read the bytes once for their digest.
 */
export async function buildInParts(
  context: JobContext,
  work: RunWork,
  {
    rows,
    format,
    layout,
    snapshot,
  }: { rows: Rows; format: PartedFormat; layout: string; snapshot: SharedSnapshot },
): Promise<BuiltFile> {
  const { claim, progress, signal } = work;
  const room = await roomFor(context, claim.accountId);
  const key = { accountId: claim.accountId, runId: claim.runId, runFence: claim.fence, layout };
  const refresh = async () => {
    const { open, ...sums } = await partsProgress(context.db, key);
    Object.assign(progress, sums);
    return open;
  };
  await callHelpers(context, work, snapshot, await refresh());
  const counting = setInterval(() => void refresh().catch(() => {}), 1_000);
  try {
    for (;;) {
      while (await buildNextPart(context, { key, rows, format, snapshot }, signal)) {
        await refresh();
        if (!fits(room, progress.bytes)) throw quotaExceeded(room);
      }
      if ((await refresh()) > 0) await delay(WAIT_MS, undefined, { signal });
      else if (!(await reopenLostParts(context, key))) break;
    }
  } finally {
    clearInterval(counting);
  }
  await requireRoom(context, claim.accountId, progress.bytes);
  const joined = await joinParts(context, work, format, await readParts(context.db, key));
  return { ...joined, expires_at: expiryOf(context, work, room) };
}

/** Whoever has time builds parts, too. A queue that cannot be reached costs only time. */
async function callHelpers(
  { enqueue, log, settings }: JobContext,
  { claim: { accountId, runId, fence } }: RunWork,
  { id, takenAt }: SharedSnapshot,
  openParts: number,
): Promise<void> {
  const snapshot = { id, takenAt: takenAt.toISOString() };
  const helpers = Math.min(openParts, settings.exportParallelism) - 1;
  try {
    for (let helper = 1; helper <= helpers; helper++) {
      const help = { accountId, runId, fence, snapshot, helper, turn: 0 };
      await enqueue(helpExport, help, { id: helpId(help), isLowPriority: true });
    }
  } catch (error) {
    log.warn("no help with parts", { runId, error });
  }
}

/** Parts whose files are gone, or are others than were stored, are built again; whether there are any. */
async function reopenLostParts({ db, artifacts, log }: JobContext, key: PartsKey): Promise<boolean> {
  const lost: string[] = [];
  const parts = await readParts(db, key);
  for (let at = 0; at < parts.length; at += SIZES_AT_ONCE)
    await Promise.all(
      parts.slice(at, at + SIZES_AT_ONCE).map(async ({ key: file, bytes }) => {
        if ((await artifacts.size(file!)) !== bytes) lost.push(file!);
      }),
    );
  if (lost.length === 0) return false;
  log.error("the files of parts are lost: they are built again", { runId: key.runId, lost });
  await reopenParts(db, key, lost);
  return true;
}

async function joinParts(
  context: JobContext,
  { claim, signal }: RunWork,
  format: PartedFormat,
  parts: readonly ExportPart[],
): Promise<Omit<BuiltFile, "expires_at">> {
  if (parts.length === 0 || parts.some((part) => part.done_at === null))
    throw new Error("the parts of this file are not all there");
  const segments: FileSegment[] = [];
  const files: string[] = [];
  const content: BuiltFile["content"] = {
    as_of: new Date(Math.min(...parts.map((part) => part.as_of!.getTime()))).toISOString(),
    consistency: parts.every(({ snapshot }) => snapshot && snapshot === parts[0]!.snapshot)
      ? "snapshot"
      : "per_part",
    parts: [],
  };
  let offset = 0;
  for (const segment of format.join(parts)) {
    if ("inline" in segment) {
      const name = context.artifacts.newKey(`${claim.runId}/${claim.fence}-0-${segments.length}`);
      segments.push(await keptInline(context, segment.inline, name, signal));
      offset += segment.inline.length;
      continue;
    }
    const { key, bytes, rows, sha256 } = parts[segment.part]!;
    segments.push({ key: key!, bytes });
    files.push(key!);
    content.parts.push({ offset, bytes, rows, sha256: sha256! });
    offset += bytes;
  }
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const digest = await digestOf(context, claim, { segments, files, parts: content.parts }, signal);
  return { segments, rows, content, ...digest };
}

async function keptInline(
  { artifacts }: JobContext,
  bytes: Buffer,
  key: string,
  signal: AbortSignal,
): Promise<FileSegment> {
  if (bytes.length <= MAX_INLINE_BYTES) return { inline: bytes.toString("base64") };
  await artifacts.write(key, Readable.from([bytes]), signal);
  return { key, bytes: bytes.length };
}

/** Of the whole file, each part of which has to be what was stored: the next attempt would join the same, so it gets a new one. */
async function digestOf(
  { db, artifacts }: JobContext,
  key: PartsKey,
  joined: {
    segments: readonly FileSegment[];
    files: readonly string[];
    parts: BuiltFile["content"]["parts"];
  },
  signal: AbortSignal,
): Promise<Measure> {
  const file = await openSegments(artifacts, joined.segments);
  if (!file) throw new Error("a part of the file is no longer in the store");
  addAbortSignal(signal, file);
  const { bytes, sha256, brokenParts } = await checkFile(file, { parts: joined.parts, bytes: 0, sha256: "" });
  if (brokenParts.length === 0) return { bytes, sha256 };
  const broken = brokenParts.map((index) => joined.files[index]!);
  await reopenParts(db, key, broken);
  throw new Error(`not what was stored: ${broken.join(", ")}`);
}
