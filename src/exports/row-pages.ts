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
 * Cuts a stream of rows after every `size` of them; without any there is one empty page. Each page has to be read to its
 * end before the next one.
 */
export async function* rowPages(batches: AsyncIterable<RowBatch>, size: number): AsyncGenerator<RowPage> {
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
      async function* slices(): AsyncGenerator<RowSlice> {
        while (batch !== undefined && count < size) {
          const to = Math.min(batch.rows, from + size - count);
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
