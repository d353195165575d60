import { setTimeout as delay } from "node:timers/promises";
import type { SharedSnapshot } from "../db/held-snapshot.js";
import { type PartsKey, partsProgress, readParts, reopenParts } from "../db/queries/export-parts.js";
import type { Artifact } from "../db/schema.js";
import { isFileDamaged } from "../exports/artifacts/key-ring.js";
import type { PartedFormat } from "../exports/file-parts.js";
import { buildNextPart } from "./build-part.js";
import type { JobContext } from "./define-job.js";
import { fits, quotaExceeded, requireRoom, roomFor } from "./file-room.js";
import { helpExport, helpId } from "./help-export.js";
import { type JoinedFile, openFileOfParts } from "./join-parts.js";
import { type PartsPlan, planParts } from "./plan-parts.js";
import { expiryOf } from "./publish-file.js";
import type { RunWork } from "./with-run.js";

/** How often a worker that has no part left to build looks for those of others. */
const WAIT_MS = 250;
/** Calls to the store at a time, to look at the files of parts. */
const SIZES_AT_ONCE = 16;

export type BuiltFile = JoinedFile & Pick<Artifact, "expires_at">;

/**
 * Builds a file in parts that are not done, with the help of other workers, and joins them. Nothing waits for what it
 * doesn't need: the first parts are built while the others are laid out, and what is done is read for the digest of the whole
 * while the rest is built.
 */
export async function buildInParts(
  context: JobContext,
  work: RunWork,
  { format, ...plan }: PartsPlan & { format: PartedFormat },
): Promise<BuiltFile> {
  const { claim, progress, signal } = work;
  const { rows, layout, snapshot } = plan;
  const room = await roomFor(context, claim.accountId);
  const key = { accountId: claim.accountId, runId: claim.runId, runFence: claim.fence, layout };
  const refresh = async () => {
    const { open, ...sums } = await partsProgress(context.db, key);
    Object.assign(progress, sums);
    return open;
  };
  const file = openFileOfParts(context, work, format);
  const planning = await startPlanning(context, work, plan);
  const counting = setInterval(() => void refresh().catch(() => {}), 1_000);
  try {
    for (;;) {
      const areAllKnown = planning.isDone();
      await file.readAhead();
      const hasBuilt = await buildNextPart(context, { key, rows, format, snapshot }, signal);
      const open = await refresh();
      if (!fits(room, progress.bytes)) throw quotaExceeded(room);
      if (hasBuilt) continue;
      const pause = () => delay(WAIT_MS, undefined, { signal });
      if (!areAllKnown) await Promise.race([planning.done, pause()]);
      else if (open > 0) await pause();
      else if (!(await reopenLostParts(context, key))) break;
    }
  } finally {
    clearInterval(counting);
    await planning.stop();
  }
  await requireRoom(context, claim.accountId, progress.bytes);
  return { ...(await file.join()), expires_at: expiryOf(context, work, room) };
}

/**
 * Lays the parts out and calls for help with them, a helper for every part but the first. The first are laid out when it
 * comes back; `done` fails where the others cannot be.
 */
async function startPlanning(
  context: JobContext,
  work: RunWork,
  plan: PartsPlan,
): Promise<{ done: Promise<void>; isDone(): boolean; stop(): Promise<void> }> {
  const stopped = new AbortController();
  const signal = AbortSignal.any([work.signal, stopped.signal]);
  const found = planParts(context, { ...work, signal }, plan);
  const callFor = helperCalls(context, work, plan.snapshot);
  const { value: first = 0 } = await found.next();
  let isDone = false;
  const planOn = async () => {
    await callFor(first);
    for await (const toBuild of found) await callFor(toBuild);
    isDone = true;
  };
  const done = planOn();
  done.catch(() => {});
  return {
    done,
    isDone: () => isDone,
    async stop() {
      stopped.abort();
      await done.catch(() => {});
    },
  };
}

/** Has so many parts built by whoever has time, too. A queue that cannot be reached costs only time. */
function helperCalls(
  { enqueue, log, settings }: JobContext,
  { claim: { accountId, runId, fence } }: RunWork,
  { id, takenAt }: SharedSnapshot,
): (toBuild: number) => Promise<void> {
  const snapshot = { id, takenAt: takenAt.toISOString() };
  let called = 0;
  return async (toBuild) => {
    try {
      for (; called < Math.min(toBuild, settings.exportParallelism) - 1; called++) {
        const help = { accountId, runId, fence, snapshot, helper: called + 1, turn: 0 };
        await enqueue(helpExport, help, { id: helpId(help), isLowPriority: true });
      }
    } catch (error) {
      log.warn("no help with parts", { runId, error });
    }
  };
}

/** Parts whose files are gone, or are others than were stored, are built again; whether there are any. */
async function reopenLostParts({ db, artifacts, log }: JobContext, key: PartsKey): Promise<boolean> {
  const lost: string[] = [];
  const sizeOf = (file: string) =>
    artifacts.size(file).catch((error: unknown) => {
      if (isFileDamaged(error)) return undefined;
      throw error;
    });
  const parts = await readParts(db, key);
  for (let at = 0; at < parts.length; at += SIZES_AT_ONCE)
    await Promise.all(
      parts.slice(at, at + SIZES_AT_ONCE).map(async ({ key: file, bytes }) => {
        if ((await sizeOf(file!)) !== bytes) lost.push(file!);
      }),
    );
  if (lost.length === 0) return false;
  log.error("the files of parts are lost: they are built again", { runId: key.runId, lost });
  await reopenParts(db, key, lost);
  return true;
}
