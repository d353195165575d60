import { databaseUnavailable } from "../../db/errors.js";
import type { NewEvent } from "../../db/queries/insert-events.js";
import { Unavailable } from "../../errors.js";

/** More than this in one statement gains no speed and holds its locks longer. */
const MAX_EVENTS_PER_FLUSH = 5_000;
/** One flush is prepared here while the other is in the database. */
const MAX_FLUSHES = 2;
/** About 50 MB. Beyond it the sender is told to come back. */
const MAX_WAITING_EVENTS = 50_000;

interface Waiting {
  events: readonly NewEvent[];
  resolve(fresh: boolean[]): void;
  reject(error: unknown): void;
}

export interface Batcher {
  /**
   * Stores events; resolves once they are committed, with `true` for each that was new. Throws `Unavailable`
   * (`ingest_busy`) when too many wait already, unless the caller bounds itself (`patient`).
   */
  add(events: readonly NewEvent[], options?: { patient?: boolean }): Promise<boolean[]>;
  /** Flushes so far, and the events that are not settled yet. */
  counts(): { flushes: number; waiting: number };
  /** Resolves when everything that was added is settled. */
  drain(): Promise<void>;
}

/**
 * Coalesces what concurrent requests add into few commits: whatever gathers while a flush is in flight goes with the
 * next one; nothing waits when none is. A flush that fails is repeated request by request, so that each gets only its
 * own error.
 */
export function createBatcher(insert: (events: readonly NewEvent[]) => Promise<boolean[]>): Batcher {
  let queue: Waiting[] = [];
  let waitingEvents = 0;
  let active = 0;
  let flushCount = 0;
  let idle: (() => void)[] = [];

  function takeBatch(): Waiting[] {
    let count = 0;
    let end = 0;
    while (end < queue.length) {
      count += queue[end]!.events.length;
      if (end > 0 && count > MAX_EVENTS_PER_FLUSH) break;
      end += 1;
    }
    const batch = queue.slice(0, end);
    queue = queue.slice(end);
    return batch;
  }

  async function flush(batch: readonly Waiting[]): Promise<void> {
    flushCount += 1;
    const events = batch.length === 1 ? batch[0]!.events : batch.flatMap((waiting) => waiting.events);
    try {
      const fresh = await insert(events);
      let start = 0;
      for (const waiting of batch) {
        const end = start + waiting.events.length;
        waiting.resolve(fresh.slice(start, end));
        start = end;
      }
    } catch (error) {
      // A database that is away is away for each of them.
      if (batch.length === 1 || databaseUnavailable(error)) for (const { reject } of batch) reject(error);
      else for (const waiting of batch) await flush([waiting]);
    }
  }

  function pump(): void {
    while (active < MAX_FLUSHES && queue.length > 0) {
      const batch = takeBatch();
      active += 1;
      void flush(batch).then(() => {
        active -= 1;
        for (const { events } of batch) waitingEvents -= events.length;
        pump();
      });
    }
    if (active > 0) return;
    for (const resolve of idle) resolve();
    idle = [];
  }

  // Requests that arrive in the same turn of the event loop share the first flush too.
  let scheduled = false;
  function pumpSoon(): void {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      pump();
    });
  }

  return {
    async add(events, { patient = false } = {}) {
      if (events.length === 0) return [];
      if (!patient && waitingEvents + events.length > MAX_WAITING_EVENTS)
        throw new Unavailable("ingest_busy", "Too many events wait to be stored; try again shortly.", {
          headers: { "retry-after": "1" },
        });
      waitingEvents += events.length;
      return new Promise<boolean[]>((resolve, reject) => {
        queue.push({ events, resolve, reject });
        pumpSoon();
      });
    },
    counts: () => ({ flushes: flushCount, waiting: waitingEvents }),
    drain: () =>
      new Promise((resolve) => {
        idle.push(resolve);
        pumpSoon();
      }),
  };
}
