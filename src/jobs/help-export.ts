import { z } from "zod";
import { findRun } from "../db/queries/runs.js";
import { buildNextPart } from "./build-part.js";
import { defineJob } from "./define-job.js";
import { openHelped } from "./open-dataset.js";
import { partedFormat } from "./parted-format.js";
import { exportRequest } from "./run-requests.js";

/**
 * Builds one part of an export that another worker is at, then asks for the next one, so that other work gets its turn in
 * between: whatever else of the queue waits is taken first. Safe to run twice, late or not at all: parts are claimed in the database, and whoever holds the export builds
 * what nobody else does. Cost: one index range, streamed by COPY in constant memory.
 */
export const helpExport = defineJob({
  kind: "exports.help",
  queue: "exports",
  payload: z.strictObject({
    accountId: z.string(),
    runId: z.string(),
    /** Of the run, while it is worked on: help that comes later is not wanted. */
    fence: z.number(),
    snapshot: z.strictObject({ id: z.string(), takenAt: z.iso.datetime() }),
    helper: z.number(),
    turn: z.number(),
  }),
  attempts: 1,
  timeoutMs: 6 * 60 * 60_000,
  async run(payload, context) {
    const { accountId, runId, fence, helper, turn } = payload;
    const run = await findRun(context.db, "export", runId, [accountId]);
    if (run?.status !== "running" || run.fence !== fence) return { skipped: "nothing to do" };
    const request = exportRequest.parse(run.params);
    const opened = await openHelped(context.db, request);
    if (!opened) return { skipped: "not in parts" };
    const { format, layout } = partedFormat(context, request, opened, run);
    const snapshot = { id: payload.snapshot.id, takenAt: new Date(payload.snapshot.takenAt) };
    const key = { accountId, runId, runFence: fence, layout };
    const built = await buildNextPart(context, { key, rows: opened.rows, format, snapshot }, context.signal);
    if (!built) return { skipped: "no part is left" };
    const next = { ...payload, turn: turn + 1 };
    await context.enqueue(helpExport, next, { id: helpId(next), isLowPriority: true });
    return { run: runId, helper, parts: turn + 1 };
  },
});

export const helpId = (help: { runId: string; fence: number; helper: number; turn: number }): string =>
  `${help.runId}-f${help.fence}-h${help.helper}-t${help.turn}`;
