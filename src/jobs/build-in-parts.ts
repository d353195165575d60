import { setTimeout as delay } from "node:timers/promises";
import type { Rows } from "../db/datasets/dataset.js";
import type { SharedSnapshot } from "../db/held-snapshot.js";
import { type PartsKey, partsProgress, readParts, reopenParts } from "../db/queries/export-parts.js";
import type { Artifact } from "../db/schema.js";
import type { PartedFormat } from "../exports/file-parts.js";
import { buildNextPart } from "./build-part.js";
import type { JobContext } from "./define-job.js";
import { fits, quotaExceeded, requireRoom, roomFor } from "./file-room.js";
import { helpExport, helpId } from "./help-export.js";
import { type JoinedFile, openFileOfParts } from "./join-parts.js";
import { expiryOf } from "./publish-file.js";
import type { RunWork } from "./with-run.js";

/** How often a worker that has no part left to build looks for those of others. */
const WAIT_MS = 250;
/** Calls to the store at a time, to look at the files of parts. */
const SIZES_AT_ONCE = 16;
export type BuiltFile = JoinedFile & Pick<Artifact, "expires_at">;

/**
 * Builds the parts of a laid-out file that are not done, with the help of other workers, and joins them. Between two parts
 * it reads those that are done, so that little is left to read when the last one is.
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
  const file = openFileOfParts(context, work, format);
  await callHelpers(context, work, snapshot, await refresh());
  const counting = setInterval(() => void refresh().catch(() => {}), 1_000);
  try {
    for (;;) {
      await file.readAhead();
      const hasBuilt = await buildNextPart(context, { key, rows, format, snapshot }, signal);
      const open = await refresh();
      if (!fits(room, progress.bytes)) throw quotaExceeded(room);
      if (hasBuilt) continue;
      if (open > 0) await delay(WAIT_MS, undefined, { signal });
      else if (!(await reopenLostParts(context, key))) break;
    }
  } finally {
    clearInterval(counting);
  }
  await requireRoom(context, claim.accountId, progress.bytes);
  return { ...(await file.join()), expires_at: expiryOf(context, work, room) };
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
