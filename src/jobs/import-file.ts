import { messageFloors } from "../db/queries/account-retention.js";
import { markUploadRemoved, storeImportBatch } from "../db/queries/imports.js";
import type { NewEvent } from "../db/queries/insert-events.js";
import type { RunKey } from "../db/queries/runs.js";
import type { ImportCursor } from "../db/schema.js";
import { PermanentJobError } from "../errors.js";
import { checkEvent, isRefusal, type Refusal, tooOldRefusal } from "../events/check-event.js";
import type { ImportRow, RowProblem } from "../sources/imports/import-row.js";
import { defineJob, type JobContext } from "./define-job.js";
import { foldEvents } from "./fold-events.js";
import { type ImportReport, startReport } from "./import-report.js";
import { Interrupted } from "./interrupted.js";
import { readImport, uploadGone } from "./read-import.js";
import { runKey } from "./run-key.js";
import { importRequest } from "./run-requests.js";
import { giveUpRun, type RunOutcome, type RunWork, withRun } from "./with-run.js";

const BATCH_EVENTS = 1_000;
/** A fold is asked for at most so often while the import runs, and once at its end. */
const WAKE_MS = 1_000;
const HEADERS_SHOWN = 50;
const HEADER_LENGTH = 80;

/**
 * Reads an uploaded file and stores its rows as events. Safe to run twice or killed anywhere: each batch of events is one
 * transaction with the count of rows behind it. A later attempt reads the file anew, which gives the same report of
 * refused rows, and stores what comes after that count. Cost: a reading of the file, one INSERT per 1,000 events.
 * Locks: the run's row for each of those, tens of milliseconds.
 */
export const importFile = defineJob({
  kind: "files.import",
  queue: "imports",
  payload: runKey,
  timeoutMs: 6 * 60 * 60_000,
  onGivenUp: giveUpRun,
  async run(key, context) {
    const done = await withRun(key, context, (work) => importUpload(work, context));
    if ("run" in done) await dropUpload(key, context);
    return done;
  },
});

async function importUpload(work: RunWork, context: JobContext): Promise<RunOutcome> {
  const { run, progress } = work;
  if (!run.upload || run.upload.removed) throw uploadGone();
  let ignored: readonly string[] = [];
  const rows = await readImport(context.artifacts, run.upload, importRequest.parse(run.params), {
    onBytes: (bytes) => {
      progress.bytes = bytes;
    },
    onHeader: (header) => {
      ignored = header.ignored;
    },
    // A later attempt must judge every time as the first one did.
    nowMs: run.created_at.getTime(),
  });
  const report = startReport(context, work);
  try {
    const counts = await storeRows(rows, report, work, context);
    return {
      artifact: await report.publish(),
      result: { ...counts, ignored_columns: ignored.slice(0, HEADERS_SHOWN).map(shownHeader) },
    };
  } catch (error) {
    await report.abandon();
    throw error;
  }
}

const shownHeader = (text: string) => text.replaceAll("\0", "").slice(0, HEADER_LENGTH).toWellFormed();

async function storeRows(
  rows: AsyncIterable<ImportRow>,
  report: ImportReport,
  work: RunWork,
  context: JobContext,
): Promise<Record<string, number>> {
  const { run, progress, signal } = work;
  const cursor = run.cursor ?? (await newCursor(run.account_id, context));
  const store = batchStore(work, cursor, context);
  const limits = {
    nowMs: run.created_at.getTime(),
    floor: cursor.messages_from === null ? undefined : new Date(cursor.messages_from),
  };
  let rejected = 0;
  let skipped = 0;
  let first: { row: number; problem: RowProblem } | undefined;
  for await (const row of rows) {
    signal.throwIfAborted();
    progress.rows += 1;
    const { events, problems } = checkRow(row, run.account_id, limits);
    if (problems.length > 0) {
      rejected += 1;
      first ??= { row: row.row, problem: problems[0]! };
      await report.add(row.row, problems);
    } else if (events.length === 0) skipped += 1;
    await store.add(progress.rows, events);
  }
  const { accepted, duplicates } = await store.finish();
  if (first && accepted + duplicates === 0) throw nothingImported(progress.rows, first);
  return { rows: progress.rows, accepted, duplicates, rejected, skipped };
}

const nothingImported = (rows: number, { row, problem }: { row: number; problem: RowProblem }) =>
  new PermanentJobError(
    "nothing_imported",
    `None of ${rows} rows could be taken. The first, row ${row}: ${shownProblem(problem)} (${problem.code}).`,
  );

const shownProblem = ({ field, message }: RowProblem) =>
  field === "" || message.startsWith(field) ? message : `${field}: ${message}`;

/** A row is taken whole or not at all. */
function checkRow(
  row: ImportRow,
  accountId: string,
  { nowMs, floor }: { nowMs: number; floor: Date | undefined },
): { events: NewEvent[]; problems: readonly RowProblem[] } {
  const problems: RowProblem[] = [...row.problems];
  const events: NewEvent[] = [];
  for (const draft of row.drafts) {
    const checked = youngEnough(checkEvent({ ...draft, account_id: accountId }, nowMs), floor);
    if (!isRefusal(checked)) events.push(checked);
    // What is wrong with all of a message's events is said once.
    else if (!problems.some(({ field, code }) => field === (checked.field ?? "") && code === checked.code))
      problems.push({ field: checked.field ?? "", code: checked.code, message: checked.message });
  }
  return problems.length > 0 ? { events: [], problems } : { events, problems };
}

const youngEnough = (checked: NewEvent | Refusal, floor: Date | undefined): NewEvent | Refusal =>
  floor && !isRefusal(checked) && checked.occurredAtMs < floor.getTime() ? tooOldRefusal(floor) : checked;

/** A floor only rises: rows that an earlier attempt has stored must not turn out to be too old in a later one. */
async function newCursor(accountId: string, { db }: JobContext): Promise<ImportCursor> {
  const floorMs = (await messageFloors(db, [accountId])).get(accountId);
  const floor = floorMs === undefined ? null : new Date(floorMs).toISOString();
  return { rows: 0, accepted: 0, duplicates: 0, messages_from: floor };
}

/** Gathers events into batches, commits them, and wakes the account's fold. Leaves out rows that an earlier attempt stored. */
function batchStore({ run, claim }: RunWork, start: ImportCursor, context: JobContext) {
  let cursor = start;
  let events: NewEvent[] = [];
  let lastRow = 0;
  let wokenAtMs = 0;

  async function commit(): Promise<void> {
    if (lastRow <= cursor.rows) return;
    const stored = await storeImportBatch(context.db, claim, events, cursor, lastRow);
    if (!stored) throw new Interrupted("fenced", "another worker holds this run");
    if (stored.accepted > cursor.accepted && Date.now() - wokenAtMs >= WAKE_MS) {
      wokenAtMs = Date.now();
      await wakeFold(run.account_id, context);
    }
    cursor = stored;
    events = [];
  }

  return {
    async add(row: number, more: readonly NewEvent[]) {
      if (row <= cursor.rows) return;
      lastRow = row;
      events.push(...more);
      if (events.length >= BATCH_EVENTS) await commit();
    },
    async finish() {
      await commit();
      if (cursor.accepted > 0) await wakeFold(run.account_id, context);
      return cursor;
    },
  };
}

/** Not needed for anything but speed: accounts that lag behind their events are looked for. */
async function wakeFold(accountId: string, { enqueue, log }: JobContext): Promise<void> {
  await enqueue(foldEvents, { accountId }).catch((error: unknown) =>
    log.warn("fold not asked for", { accountId, error }),
  );
}

/** What fails here is done by the sweep. */
async function dropUpload(key: RunKey, { db, artifacts, log }: JobContext): Promise<void> {
  try {
    const file = await markUploadRemoved(db, key.accountId, key.runId);
    if (file) await artifacts.remove(file);
  } catch (error) {
    log.warn("upload not removed yet; the sweep will", { runId: key.runId, error });
  }
}
