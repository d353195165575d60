import type { Rows } from "../db/datasets/dataset.js";
import type { SharedSnapshot } from "../db/held-snapshot.js";
import {
  beatPart,
  claimPart,
  type ExportPart,
  finishPart,
  type PartClaim,
  type PartsKey,
  releasePart,
} from "../db/queries/export-parts.js";
import { binaryCopySql } from "../exports/binary-copy.js";
import type { PartedFormat } from "../exports/file-parts.js";
import type { JobContext } from "./define-job.js";
import { startHeart } from "./heart.js";
import { Interrupted } from "./interrupted.js";
import { counted } from "./publish-file.js";
import { createTurns } from "./turns.js";

/** An export that is being built in parts. */
export interface PartedExport {
  /**
   * With the fence under which the run is worked on and with what is built: parts of an earlier attempt, or of another
   * release that would write them otherwise, are none of its business.
   */
  key: PartsKey & { runFence: number; layout: string };
  rows: Rows;
  format: PartedFormat;
  snapshot: SharedSnapshot;
}

/** Of this process, at a time: more cost memory and make nothing faster. */
const heavyParts = createTurns(2);

/**
 * Builds the next part that nobody works on; false when there is none. The part's file has a key of this claim alone, and
 * one conditional statement makes it done: a worker that was taken for dead loses its part and harms nobody.
 */
export async function buildNextPart(
  context: JobContext,
  of: PartedExport,
  signal: AbortSignal,
): Promise<boolean> {
  signal.throwIfAborted();
  using _turn = of.format.isHeavy ? await heavyParts.take(signal) : undefined;
  const part = await claimPart(context.db, of.key, context.worker);
  if (!part) return false;
  const claim = { ...of.key, part: part.part, fence: part.fence };
  const progress = { rows: 0, bytes: 0 };
  const heart = startHeart(() => sendBeat(context, claim, progress));
  try {
    await writePart(context, of, part, progress, AbortSignal.any([signal, heart.signal]));
    return true;
  } catch (error) {
    if (heart.signal.aborted && !signal.aborted) return true;
    await releasePart(context.db, claim).catch(() => {});
    throw signal.aborted ? signal.reason : error;
  } finally {
    await heart.stop();
  }
}

async function writePart(
  { db, copy, artifacts }: JobContext,
  { key, rows, format, snapshot }: PartedExport,
  part: ExportPart,
  progress: { rows: number; bytes: number },
  signal: AbortSignal,
): Promise<void> {
  const claim = { ...key, part: part.part, fence: part.fence };
  const within = { from: part.from_key ?? undefined, to: part.to_key ?? undefined };
  const sql = binaryCopySql(format.columns, rows.from({ ordered: true, within }));
  const copied = await copy.streamAt(snapshot, sql, signal);
  const made = format.part(copied.source);
  made.bytes.once("close", () => copied.source.destroy());
  const file = artifacts.newKey(`${key.runId}/${part.part}-${part.fence}`);
  const { bytes, sha256 } = await artifacts.write(file, counted(made.bytes, made.rows, progress), signal);
  const done = await finishPart(db, claim, {
    ...{ key: file, rows: made.rows(), bytes, sha256, detail: made.detail() },
    ...{ snapshot: copied.snapshot, asOf: copied.takenAt },
  });
  if (!done) await artifacts.remove(file);
}

async function sendBeat(
  { db, log }: JobContext,
  claim: PartClaim,
  progress: { rows: number; bytes: number },
): Promise<Interrupted | undefined> {
  try {
    if (await beatPart(db, claim, progress)) return undefined;
    return new Interrupted("fenced", "another worker holds this part, or nobody needs it");
  } catch (error) {
    log.warn("heartbeat failed", { runId: claim.runId, part: claim.part, error });
    return undefined;
  }
}
