import { type RowBatch, rowBatches } from "./binary-copy.js";

/** Writes the rows of a batch one after the other, as text of a format. */
export interface RowsWriter {
  /** To `out` from `at` on; returns where it ended. */
  write(out: Buffer, at: number, batch: RowBatch): number;
  /** What it may need for that at most, in bytes. */
  mostBytes(batch: RowBatch): number;
}

/** The database sends less at a time than is good for hashing, compressing and writing. */
const CHUNK_BYTES = 2 ** 16;

/** The text of the rows that `binaryCopySql` selects, in pieces, in bounded memory. `rows()` have been written so far. */
export function textOfRows(
  source: AsyncIterable<Buffer>,
  columns: number,
  { write, mostBytes }: RowsWriter,
): { chunks: AsyncIterable<Buffer>; rows(): number } {
  let rows = 0;
  async function* chunks() {
    let out = Buffer.allocUnsafeSlow(2 * CHUNK_BYTES);
    let at = 0;
    const taken = () => {
      const chunk = Buffer.from(out.subarray(0, at));
      at = 0;
      return chunk;
    };
    for await (const batch of rowBatches(source, columns)) {
      const most = mostBytes(batch);
      if (at > 0 && at + most > out.length) yield taken();
      if (most > out.length) out = Buffer.allocUnsafeSlow(most);
      at = write(out, at, batch);
      rows += batch.rows;
      if (at >= CHUNK_BYTES) yield taken();
    }
    if (at > 0) yield taken();
  }
  return { chunks: chunks(), rows: () => rows };
}

/** An instant, or the longest number, is no longer than this, with what stands around it. */
const CELL_BYTES = 32;

/** Where a byte of text grows to `perByte` at most, and `perRow` bytes are the same in every row. */
export const mostBytesOf =
  (perByte: number, perRow: number) =>
  ({ bytes, rows, columns }: RowBatch): number =>
    bytes.length * perByte + rows * (columns * CELL_BYTES + perRow);
