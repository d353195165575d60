import type { Enqueue } from "../../jobs/define-job.js";
import { foldEvents } from "../../jobs/fold-events.js";
import { type Log, seldomWarnings } from "../../log.js";

/** New events ask for a fold at once, and again after this time: short for a reader, long for the queue. */
const COALESCE_MS = 150;
/** Enqueues at a time: a round of many accounts must not flood the queue's connection. */
const CONCURRENCY = 16;

export interface FoldWaker {
  /** Says that an account has new events. Never fails and never waits. */
  wake(accountId: string): void;
  /** Asks at once for what is outstanding, and resolves when the queue has it or refused it. */
  flush(): Promise<void>;
}

/**
 * Asks for folds, at most once per account and round. A failure is only logged: the scheduler looks for accounts that
 * lag behind their events and does not depend on this.
 */
export function createFoldWaker(enqueue: Enqueue, log: Log): FoldWaker {
  const warn = seldomWarnings();
  let pending = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let round: Promise<void> | undefined;
  let startedMs = Number.NEGATIVE_INFINITY;

  async function runRound(): Promise<void> {
    const accounts = [...pending].values();
    pending = new Set();
    let failed = 0;
    let lastError: unknown;
    const lane = async () => {
      for (const accountId of accounts) {
        try {
          await enqueue(foldEvents, { accountId });
        } catch (error) {
          failed += 1;
          lastError = error;
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, lane));
    if (failed > 0) warn(log, "folds not asked for", { accounts: failed, error: lastError });
  }

  function start(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    startedMs = performance.now();
    round = runRound().finally(() => {
      round = undefined;
      if (pending.size > 0) startSoon();
    });
    return round;
  }

  function startSoon(): void {
    timer ??= setTimeout(start, Math.max(0, startedMs + COALESCE_MS - performance.now()));
  }

  return {
    wake(accountId) {
      pending.add(accountId);
      // A slow queue stretches the rounds: what gathers meanwhile follows in one.
      if (round === undefined) startSoon();
    },
    async flush() {
      await round;
      if (pending.size > 0) await start();
      clearTimeout(timer);
    },
  };
}
