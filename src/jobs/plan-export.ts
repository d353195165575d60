import type { KeyRange, RowKey, Rows } from "../db/datasets/dataset.js";
import type { HeldSnapshot } from "../db/held-snapshot.js";
import { layOutParts, readParts } from "../db/queries/export-parts.js";
import type { JobContext } from "./define-job.js";
import { Interrupted } from "./interrupted.js";
import type { RunWork } from "./with-run.js";

/**
 * Lays the rows of an export out in parts of `partRows` each, the last one aside, and says how many there are; without
 * that number it is one. Several are written down; those of an earlier attempt stay as they are when any of them is done, and made
 * as these would be. The cursor is that of whoever laid them out, so that it is no later than any of them. Passes over the
 * index once.
 */
export async function planExport(
  { db }: JobContext,
  { claim, progress, signal }: RunWork,
  {
    rows,
    partRows,
    layout,
    snapshot,
    nextCursor,
  }: {
    rows: Rows;
    partRows: number | undefined;
    layout: string;
    snapshot: HeldSnapshot;
    nextCursor: string | undefined;
  },
): Promise<{ parts: number; nextCursor: string | undefined }> {
  const known = await readParts(db, claim);
  if (known[0]?.layout === layout && known.some((part) => part.done_at !== null))
    return { parts: known.length, nextCursor: known[0].next_cursor ?? undefined };
  const ranges: KeyRange[] = [];
  let from: RowKey | undefined;
  for (;;) {
    const to = partRows && (await keyAfter(rows, from, partRows, snapshot, signal));
    if (!to) break;
    ranges.push({ from, to });
    from = to;
  }
  // What cannot be cut costs as much to count as to read.
  if (rows.key)
    progress.totalRows = ranges.length * (partRows ?? 0) + (await countFrom(rows, from, snapshot, signal));
  ranges.push({ from });
  if (ranges.length > 1 && !(await layOutParts(db, claim, layout, ranges, nextCursor)))
    throw new Interrupted("fenced", "another worker holds this run");
  return { parts: ranges.length, nextCursor };
}

/** The key of the row that is `size` rows behind `from`; undefined where there is none, or the rows cannot be cut. */
async function keyAfter(
  rows: Rows,
  from: RowKey | undefined,
  size: number,
  snapshot: HeldSnapshot,
  signal: AbortSignal,
): Promise<RowKey | undefined> {
  const values = rows.key!.map((sql) => `(${sql})::text`).join(", ");
  const [found] = await snapshot.read<{ key: string[] }>(
    `select array[${values}] as key ${rows.from({ ordered: true, within: { from } })} offset ${size} limit 1`,
    signal,
  );
  return found?.key;
}

async function countFrom(
  rows: Rows,
  from: RowKey | undefined,
  snapshot: HeldSnapshot,
  signal: AbortSignal,
): Promise<number> {
  const [counted] = await snapshot.read<{ count: number }>(
    `select count(*) as count ${rows.from({ ordered: false, within: { from } })}`,
    signal,
  );
  return counted!.count;
}
