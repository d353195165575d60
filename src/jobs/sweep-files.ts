import { z } from "zod";
import { expiredArtifacts, liveArtifacts, markArtifactRemoved } from "../db/queries/artifacts.js";
import { deleteEndedLinks } from "../db/queries/download-links.js";
import { leftOverParts, removeEndedParts } from "../db/queries/export-parts.js";
import { deleteExpiredIdempotencyKeys } from "../db/queries/idempotency.js";
import { markUploadRemoved, spentUploads } from "../db/queries/imports.js";
import { defineJob } from "./define-job.js";
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
/** A failed export can be retried, and goes on where it was, for so long. */
const KEEP_FAILED_PARTS_MS = 24 * 3_600_000;
/** The keys that `publishFile` and parts make, and that of an upload, also where the store encrypts. */
const OUR_KEY = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\/\d+(-\d+){0,2}(\.sealed)?$/;

/**
 * Removes expired artifacts (their runs stay and answer 410), uploads that are read or whose time for a retry is over,
 * parts of exports that will not go on, orphaned files and unfinished uploads to the store, old download links and old
 * idempotency keys. Idempotent; killed anywhere it goes on at the next fire. Runs where the artifacts are: workers share
 * the store.
 */
export const sweepFiles = defineJob({
  kind: "files.sweep",
  queue: "maintenance",
  payload: z.strictObject({}),
  timeoutMs: 10 * 60_000,
  schedule: { cron: "30 */15 * * * *", payload: {} },
  async run(_payload, { db, artifacts, signal, now, settings }) {
    let expired = 0;
    for (const { accountId, runId, segments } of await expiredArtifacts(db, FILES_PER_BATCH)) {
      signal.throwIfAborted();
      await removeFile(artifacts, { segments });
      await markArtifactRemoved(db, accountId, runId);
      expired++;
    }
    let uploads = 0;
    for (const { accountId, runId, key } of await spentUploads(db, settings.artifactRetentionMs, BATCH)) {
      signal.throwIfAborted();
      // Said first: a file that is left over by a crash in between is an orphan.
      if (!(await markUploadRemoved(db, accountId, runId))) continue;
      await artifacts.remove(key);
      uploads++;
    }
    // The files of those that have no row any more are orphans, or belong to an artifact.
    const kept = { keepFailedMs: KEEP_FAILED_PARTS_MS };
    for (const key of await leftOverParts(db, kept.keepFailedMs, BATCH))
      await removeEndedParts(db, key, kept);
    const orphans = await artifacts.sweep(
      async (keys) => {
        signal.throwIfAborted();
        const [ours, others] = [
          keys.filter((key) => OUR_KEY.test(key)),
          keys.filter((key) => !OUR_KEY.test(key)),
        ];
        const live = await liveArtifacts(
          db,
          ours.map((key) => ({ runId: key.slice(0, UUID_LENGTH), key })),
        );
        // What is not named as our files are was put there by somebody else, and is none of our business.
        return new Set([...live, ...others]);
      },
      ORPHAN_AFTER_MS,
      now(),
    );
    const before = new Date(now().getTime() - KEY_LIFETIME_MS);
    const keys = await deleteExpiredIdempotencyKeys(db, before, BATCH);
    const links = await deleteEndedLinks(db, new Date(now().getTime() - LINK_KEPT_MS), BATCH);
    return { expired, uploads, orphans, keys, links };
  },
});
