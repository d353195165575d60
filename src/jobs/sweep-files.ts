import { z } from "zod";
import { expiredArtifacts, liveArtifacts, markArtifactRemoved } from "../db/queries/artifacts.js";
import { deleteEndedLinks } from "../db/queries/download-links.js";
import { leftOverParts, removeEndedParts } from "../db/queries/export-parts.js";
import { deleteExpiredIdempotencyKeys } from "../db/queries/idempotency.js";
import { markUploadRemoved, spentUploads } from "../db/queries/imports.js";
import { defineJob, type JobContext } from "./define-job.js";
import { removeFile } from "./remove-file.js";

/** A file that no run names after this long is a leftover of a worker that died or was shut out. */
const ORPHAN_AFTER_MS = 60 * 60_000;
const KEY_LIFETIME_MS = 24 * 3_600_000;
/** How long it can be seen who used a link, after it ended. */
const LINK_KEPT_MS = 90 * 24 * 3_600_000;
const BATCH = 1_000;
/** Each may be made of thousands of parts. */
const FILES_PER_BATCH = 100;
const UUID_LENGTH = 36;
/** A failed run can be retried, and goes on where it was, for so long. */
const KEEP_FAILED_PARTS_MS = 24 * 3_600_000;
/** The keys that `publishFile` and parts make, and that of an upload, also where the store encrypts. */
const OUR_KEY = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\/\d+(-\d+){0,2}(\.sealed)?$/;
const EVERY_MINUTES = 15;
/** Orphans are looked for among the runs whose ids begin with one digit, the next one each time: in four hours, with all. */
const SLICES = 16;

/**
 * Removes old idempotency keys and download links, expired artifacts (their runs stay and answer 410), uploads that are read
 * or whose time for a retry is over, parts of files that will not go on, unfinished uploads to the store, and of orphaned
 * files a slice. Idempotent; killed anywhere it goes on at the next fire. Runs where the artifacts are: workers share the store.
 * Cost: what there is to remove, and a look at every 16th file of the store.
 */
export const sweepFiles = defineJob({
  kind: "files.sweep",
  queue: "maintenance",
  payload: z.strictObject({
    /** What the ids of the runs begin with whose files are looked at; the one whose turn it is unless given. */
    slice: z
      .string()
      .regex(/^[0-9a-f]?$/)
      .optional(),
  }),
  timeoutMs: 10 * 60_000,
  schedule: { cron: `30 */${EVERY_MINUTES} * * * *`, payload: {} },
  async run({ slice }, context) {
    const { db, now, job, signal } = context;
    const before = (keptMs: number) => new Date(now().getTime() - keptMs);
    /** Until a batch is not full. */
    const all = async (batch: number, removeSome: (limit: number) => Promise<number>) => {
      for (let removed = 0; ; ) {
        signal.throwIfAborted();
        const some = await removeSome(batch);
        removed += some;
        if (some < batch) return removed;
      }
    };
    const turn = Math.floor(job.addedAt.getTime() / (EVERY_MINUTES * 60_000)) % SLICES;
    return {
      keys: await all(BATCH, (limit) => deleteExpiredIdempotencyKeys(db, before(KEY_LIFETIME_MS), limit)),
      links: await all(BATCH, (limit) => deleteEndedLinks(db, before(LINK_KEPT_MS), limit)),
      expired: await all(FILES_PER_BATCH, (limit) => removeExpired(context, limit)),
      uploads: await all(BATCH, (limit) => removeUploads(context, limit)),
      parts: await all(BATCH, (limit) => removeParts(context, limit)),
      orphans: await removeOrphans(context, slice ?? turn.toString(16), before(ORPHAN_AFTER_MS)),
    };
  },
});

async function removeExpired({ db, artifacts, signal }: JobContext, limit: number): Promise<number> {
  const files = await expiredArtifacts(db, limit);
  for (const { accountId, runId, segments } of files) {
    signal.throwIfAborted();
    await removeFile(artifacts, { segments });
    await markArtifactRemoved(db, accountId, runId);
  }
  return files.length;
}

async function removeUploads(
  { db, artifacts, signal, settings }: JobContext,
  limit: number,
): Promise<number> {
  const uploads = await spentUploads(db, settings.artifactRetentionMs, limit);
  for (const { accountId, runId, key } of uploads) {
    signal.throwIfAborted();
    // Said first: a file that is left over by a crash in between is an orphan.
    if (await markUploadRemoved(db, accountId, runId)) await artifacts.remove(key);
  }
  return uploads.length;
}

/** The files of those that have no row any more are orphans, or belong to an artifact. */
async function removeParts({ db }: JobContext, limit: number): Promise<number> {
  const exports = await leftOverParts(db, KEEP_FAILED_PARTS_MS, limit);
  for (const key of exports) await removeEndedParts(db, key, { keepFailedMs: KEEP_FAILED_PARTS_MS });
  return exports.length;
}

async function removeOrphans(
  { db, artifacts, signal }: JobContext,
  slice: string,
  before: Date,
): Promise<number> {
  const liveAmong = async (keys: readonly string[]) => {
    signal.throwIfAborted();
    const ours = keys.filter((key) => OUR_KEY.test(key));
    const live = await liveArtifacts(
      db,
      ours.map((key) => ({ runId: key.slice(0, UUID_LENGTH), key })),
    );
    // What is not named as our files are was put there by somebody else, and is none of our business.
    return new Set([...live, ...keys.filter((key) => !OUR_KEY.test(key))]);
  };
  return artifacts.sweep(slice, liveAmong, before);
}
