import type { Context } from "../../context.js";
import { insertEvents, type NewEvent } from "../../db/queries/insert-events.js";
import { type Batcher, createBatcher } from "./batcher.js";
import { createKnownAccounts, type KnownAccounts } from "./known-accounts.js";
import { createFoldWaker } from "./wake-folds.js";

const STORE_SLICE = 1_000;

/** The write path of one process, shared by every route that takes events. */
export interface Ingest {
  accounts: KnownAccounts;
  batcher: Batcher;
  /** Stores events of existing accounts and wakes their folds. Resolves after the commit with how many were new. */
  store(events: readonly NewEvent[], options?: { patient?: boolean }): Promise<number>;
}

const ingests = new WeakMap<Context, Ingest>();

export function ingestOf(context: Context): Ingest {
  let ingest = ingests.get(context);
  if (!ingest) {
    ingest = createIngest(context);
    ingests.set(context, ingest);
  }
  return ingest;
}

function createIngest({ db, log, now, queues, beforeClose }: Context): Ingest {
  const batcher = createBatcher((events) => insertEvents(db, events));
  const folds = createFoldWaker(queues.enqueue, log);
  beforeClose.push(async () => {
    await batcher.drain();
    await folds.flush();
  });
  async function storeSlice(slice: readonly NewEvent[], options?: { patient?: boolean }): Promise<number> {
    const results = await batcher.add(slice, options);
    const changed = new Set<string>();
    let fresh = 0;
    for (let index = 0; index < slice.length; index++) {
      if (!results[index]) continue;
      fresh += 1;
      changed.add(slice[index]!.accountId);
    }
    for (const accountId of changed) folds.wake(accountId);
    return fresh;
  }
  return {
    accounts: createKnownAccounts(db, () => now().getTime()),
    batcher,
    async store(events, options) {
      if (events.length <= STORE_SLICE) return storeSlice(events, options);
      let fresh = 0;
      for (let start = 0; start < events.length; start += STORE_SLICE)
        fresh += await storeSlice(events.slice(start, start + STORE_SLICE), options);
      return fresh;
    },
  };
}
