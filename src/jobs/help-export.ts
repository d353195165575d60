import { z } from "zod";
import type { Db } from "../db/client.js";
import { areBeingPlanned } from "../db/queries/export-parts.js";
import { findHeldRun, type Run } from "../db/queries/runs.js";
import { buildNextPart } from "./build-part.js";
import { defineJob } from "./define-job.js";
import { exportFile, openHelped } from "./open-dataset.js";
import { partedFormat } from "./parted-format.js";
import { findTemplate } from "./report/find-template.js";
import { listFile } from "./report/list-file.js";
import { exportRequest, reportRequest } from "./run-requests.js";
import type { RowFile } from "./write-rows.js";

/** Until a helper looks again for a part while they are still being laid out. */
const LOOK_AGAIN_MS = 500;

/**
 * Builds one part of an export or a list that another worker is at, then asks for the next one, so that other work gets its
 * turn in between: whatever else of the queue waits is taken first. It comes again, too, while parts are still laid out.
 * Safe to run twice, late or not at all: parts are claimed in the database, and whoever holds the run builds what nobody
 * else does. Cost: one index range, streamed by COPY in constant memory.
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
    const run = await findHeldRun(context.db, { accountId, runId, fence });
    if (!run) return { skipped: "nothing to do" };
    const file = await openFile(context.db, run);
    const parted = file && partedFormat(context.settings, file);
    if (!parted) return { skipped: "not in parts" };
    const { format, layout } = parted;
    const snapshot = { id: payload.snapshot.id, takenAt: new Date(payload.snapshot.takenAt) };
    const key = { accountId, runId, runFence: fence, layout };
    const built = await buildNextPart(context, { key, rows: file.rows, format, snapshot }, context.signal);
    if (!built && !(await areBeingPlanned(context.db, key))) return { skipped: "no part is left" };
    const next = { ...payload, turn: turn + 1 };
    const options = { id: helpId(next), isLowPriority: true };
    await context.enqueue(helpExport, next, built ? options : { ...options, delayMs: LOOK_AGAIN_MS });
    return built ? { run: runId, helper, parts: 1 } : { skipped: "no part is laid out yet" };
  },
});

async function openFile(db: Db, run: Run): Promise<RowFile | undefined> {
  if (run.kind === "report") {
    const request = reportRequest.parse(run.params);
    return listFile(await findTemplate(db, request), request, run);
  }
  const request = exportRequest.parse(run.params);
  const opened = await openHelped(db, request);
  return opened && exportFile(request, opened, run.created_at);
}

export const helpId = (help: { runId: string; fence: number; helper: number; turn: number }): string =>
  `${help.runId}-f${help.fence}-h${help.helper}-t${help.turn}`;
