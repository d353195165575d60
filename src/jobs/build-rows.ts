import { Readable } from "node:stream";
import { type CountedRows, countRows } from "../db/datasets/dataset.js";
import { type HeldSnapshot, readerOf } from "../db/held-snapshot.js";
import { Unavailable } from "../errors.js";
import { NO_ROWS } from "../exports/binary-copy.js";
import { type BuiltFile, buildInParts } from "./build-in-parts.js";
import type { JobContext } from "./define-job.js";
import { type PartedFile, partedFormat } from "./parted-format.js";
import { publishFile, servedAs } from "./publish-file.js";
import type { RunOutcome, RunWork } from "./with-run.js";
import { copySql, type RowFile, streamRows } from "./write-rows.js";

interface Asked {
  /** Of the file, without an extension. */
  fileName: string;
  /** The one in which the rows have to be read; any is good unless it is given. */
  snapshot?: HeldSnapshot | undefined;
  /** Of the changes that this snapshot shows. */
  nextCursor?: string | undefined;
}

/**
 * Builds a file of rows: what is no more than a part as one stream, everything else in parts that other workers help with
 * (see `withParts`). A small file costs a count of its index range, and a COPY if there is a row; a snapshot is held for
 * parts only.
 */
export async function buildRows(
  context: JobContext,
  work: RunWork,
  file: RowFile,
  asked: Asked,
): Promise<RunOutcome> {
  const parted = partedFormat(context.settings, file);
  // What has no key costs as much to count as to read.
  const counted =
    file.rows.key &&
    (await countRows(
      asked.snapshot ?? readerOf(context.db),
      file.rows,
      { limit: parted && parted.partRows + 1 },
      work.signal,
    ));
  const inParts = parted !== undefined && counted !== undefined && counted.count > parted.partRows;
  const { nextCursor, ...built } = inParts
    ? await buildParts(context, work, file, parted, asked)
    : await buildWhole(context, work, file, counted, asked);
  const artifact = {
    ...built,
    ...servedAs({ ...file, name: asked.fileName }),
    content: { columns: file.columns.map(({ name, type }) => ({ name, type })), ...built.content },
  };
  return { artifact, inParts, ...(nextCursor && { result: { next_cursor: nextCursor } }) };
}

async function buildParts(
  context: JobContext,
  work: RunWork,
  { rows }: RowFile,
  parted: PartedFile,
  asked: Asked,
): Promise<BuiltFile> {
  const snapshot = asked.snapshot ?? (await context.copy.holdSnapshot());
  try {
    const plan = { rows, ...parted, snapshot, nextCursor: asked.nextCursor };
    return await buildInParts(context, work, plan);
  } finally {
    if (!asked.snapshot) snapshot.release();
  }
}

async function buildWhole(
  context: JobContext,
  work: RunWork,
  file: RowFile,
  counted: CountedRows | undefined,
  { snapshot, nextCursor }: Asked,
): Promise<BuiltFile> {
  work.progress.totalRows = counted?.count;
  const { source, takenAt } =
    counted?.count === 0
      ? { source: Readable.from([NO_ROWS]), takenAt: counted.takenAt }
      : await copyAll(context, work, file, snapshot);
  const { format } = file;
  const made = await publishFile(context, work, streamRows(source, file), { name: file.name, format });
  const { bytes, rows, sha256 } = made;
  const part = { offset: 0, bytes, rows, sha256 };
  const content = { as_of: takenAt.toISOString(), consistency: "snapshot" as const, parts: [part] };
  return { ...made, content, nextCursor };
}

async function copyAll(
  { copy }: JobContext,
  { signal }: RunWork,
  file: RowFile,
  snapshot: HeldSnapshot | undefined,
): Promise<{ source: Readable; takenAt: Date }> {
  const copied = await copy.streamAt(snapshot, copySql(file), signal);
  // A cursor of before and rows of now would not fit.
  if (snapshot && copied.snapshot === undefined) {
    copied.source.destroy();
    throw new Unavailable(
      "snapshot_lost",
      "The database went away while the changes were read; they are read again.",
    );
  }
  return copied;
}
