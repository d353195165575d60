import type { Db } from "../db/client.js";
import { countRows, type KeyRange, type RowKey, type Rows } from "../db/datasets/dataset.js";
import type { HeldSnapshot } from "../db/held-snapshot.js";
import { addPart, type ExportPart, readParts, removeParts } from "../db/queries/export-parts.js";
import type { Claim } from "../db/queries/runs.js";
import type { JobContext } from "./define-job.js";
import { Interrupted } from "./interrupted.js";
import type { RunWork } from "./with-run.js";

/** How the rows of a file are cut into parts. */
export interface PartsPlan {
  rows: Rows;
  partRows: number;
  /** Of what is in the parts, and how it is written. */
  layout: string;
  snapshot: HeldSnapshot;
  /** Of the changes that the snapshot shows. */
  nextCursor: string | undefined;
}

/**
 * Lays the rows of a file out in parts of `partRows` each, the last one aside, and writes each down as soon as its end is
 * found: workers begin with the first while the others are looked for. Those of an earlier attempt stay as they are when
 * any of them is done, and made as these would be; what is missing comes behind them. Yields how many parts to build it
 * has found so far. Passes over the index once.
 */
export async function* planParts(
  { db }: JobContext,
  { claim, progress, signal }: Pick<RunWork, "claim" | "progress" | "signal">,
  { rows, partRows, layout, snapshot, nextCursor }: PartsPlan,
): AsyncGenerator<number, void> {
  const known = await knownParts(db, claim, layout);
  let toBuild = known.filter((part) => part.done_at === null).length;
  let range: KeyRange | undefined = rangeOf(known.at(-1));
  if (range) yield toBuild;
  // An earlier attempt may have made parts of another size.
  const sizes = known.map((part) => (part.done_at ? part.rows : partRows));
  while (!range || range.to) {
    const from: RowKey | undefined = range?.to;
    range = { from, to: await keyAfter(rows, from, partRows, snapshot, signal) };
    if (!(await addPart(db, claim, { part: sizes.length, layout, range, nextCursor })))
      throw new Interrupted("fenced", "another worker holds this run");
    sizes.push(partRows);
    yield ++toBuild;
  }
  const { count } = await countRows(snapshot, rows, { within: range }, signal);
  progress.totalRows = sizes.slice(0, -1).reduce((sum, size) => sum + size, count);
}

/** Those of an earlier attempt that are worth keeping: no others are left. */
async function knownParts(db: Db, claim: Claim, layout: string): Promise<ExportPart[]> {
  const parts = await readParts(db, claim);
  if (parts[0]?.layout === layout && parts.some((part) => part.done_at !== null)) return parts;
  if (!(await removeParts(db, claim))) throw new Interrupted("fenced", "another worker holds this run");
  return [];
}

const rangeOf = (part: ExportPart | undefined): KeyRange | undefined =>
  part && { from: part.from_key ?? undefined, to: part.to_key ?? undefined };

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
