import { countRows, type KeyRange, type RowKey, type Rows } from "../db/datasets/dataset.js";
import type { HeldSnapshot } from "../db/held-snapshot.js";
import { layOutParts, readParts } from "../db/queries/export-parts.js";
import type { JobContext } from "./define-job.js";
import { Interrupted } from "./interrupted.js";
import type { RunWork } from "./with-run.js";

/**
 * Lays the rows of a file out in parts of `partRows` each, the last one aside, and writes them down. Those of an earlier
 * attempt stay as they are when any of them is done, and made as these would be. Gives the cursor of whoever laid them out,
 * so that it is no later than any of them. Passes over the index once.
 */
export async function planParts(
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
    partRows: number;
    layout: string;
    snapshot: HeldSnapshot;
    nextCursor: string | undefined;
  },
): Promise<string | undefined> {
  const [known, ...others] = await readParts(db, claim);
  if (known?.layout === layout && [known, ...others].some((part) => part.done_at !== null))
    return known.next_cursor ?? undefined;
  const ranges: KeyRange[] = [];
  let from: RowKey | undefined;
  for (;;) {
    const to = await keyAfter(rows, from, partRows, snapshot, signal);
    if (!to) break;
    ranges.push({ from, to });
    from = to;
  }
  const { count } = await countRows(snapshot, rows, { within: { from } }, signal);
  progress.totalRows = ranges.length * partRows + count;
  if (!(await layOutParts(db, claim, layout, [...ranges, { from }], nextCursor)))
    throw new Interrupted("fenced", "another worker holds this run");
  return nextCursor;
}

/** The key of the row that is `size` rows behind `from`; undefined where there is none. */
async function keyAfter(
  rows: Rows,
  from: RowKey | undefined,
  size: number,
  snapshot: HeldSnapshot,
  signal: AbortSignal,
): Promise<RowKey | undefined> {
  const names = rows.key!.map((_, index) => `k${index}`);
  const values = rows.key!.map((sql, index) => `${sql} as ${names[index]}`);
  // Text is made of the one key, not of all that are passed over.
  const [found] = await snapshot.read<{ key: string[] }>(
    `select array[${names.map((name) => `${name}::text`).join(", ")}] as key
     from (select ${values.join(", ")} ${rows.from({ ordered: true, within: { from } })} offset ${size} limit 1) found`,
    signal,
  );
  return found?.key;
}
