import type { RowBatch } from "./binary-copy.js";

/** Rows [from, to) of a batch. */
export interface RowSlice {
  batch: RowBatch;
  from: number;
  to: number;
}

export interface RowPage {
  slices: AsyncIterable<RowSlice>;
  /** That have gone by so far. */
  rows(): number;
}

/**
 * Cuts a stream of rows after every `size` of them, and after a row with which their values are `bytes` or more; without
 * any row there is one empty page. Where it cuts depends on the rows alone. Each page has to be read to its end before the
 * next one.
 */
export async function* rowPages(
  batches: AsyncIterable<RowBatch>,
  size: number,
  bytes = Number.POSITIVE_INFINITY,
): AsyncGenerator<RowPage> {
  const all = batches[Symbol.asyncIterator]();
  let from = 0;
  const next = async () => {
    from = 0;
    const { value, done } = await all.next();
    return done ? undefined : (value as RowBatch);
  };
  try {
    let batch = await next();
    const page = (): RowPage => {
      let count = 0;
      let room = bytes;
      async function* slices(): AsyncGenerator<RowSlice> {
        while (batch !== undefined && count < size && room > 0) {
          const most = Math.min(batch.rows, from + size - count);
          let to = from;
          for (; to < most && room > 0; to++) room -= valueBytes(batch, to);
          count += to - from;
          yield { batch, from, to };
          from = to;
          if (from === batch.rows) batch = await next();
        }
      }
      return { slices: slices(), rows: () => count };
    };
    do yield page();
    while (batch !== undefined);
  } finally {
    await all.return?.();
  }
}

/** From the first value of a row to the end of its last. */
function valueBytes({ starts, lengths, columns }: RowBatch, row: number): number {
  const last = (row + 1) * columns - 1;
  return starts[last]! + Math.max(0, lengths[last]!) - starts[row * columns]!;
}
