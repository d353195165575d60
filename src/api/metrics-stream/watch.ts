import type { Context } from "../../context.js";
import { findFoldVersions } from "../../db/queries/fold-versions.js";
import { identifierOf, KEY_TTL_MS } from "../identity.js";
import { minuteOf } from "../metrics-cache/metrics-cache.js";
import type { Topics } from "./topics.js";

/** How often what happens to open streams happens. Only tests have other values. */
export interface StreamTimings {
  /** Looks at the versions. The fold takes its time too before a reader hears of an event. */
  pollMs: number;
  heartbeatMs: number;
  /** Looks whether the keys are still valid. */
  identityMs: number;
  /** A reader that takes nothing for so long is cut off. */
  stalledMs: number;
}

export const shippedTimings: StreamTimings = {
  pollMs: 100,
  heartbeatMs: 15_000,
  identityMs: KEY_TTL_MS,
  stalledMs: 30_000,
};

export interface Watch {
  start(): void;
  stop(): void;
  /** Readers that were cut off for being stuck. */
  dropped(): number;
}

/**
 * What is done for open streams while there are any, all of them together. A database that is away costs updates, not
 * streams. It polls and does not listen, so that it works behind a pooler of transactions.
 */
export function createWatch(options: {
  context: Context;
  topics: Topics;
  timings: StreamTimings;
  warn: (message: string, error: unknown) => void;
}): Watch {
  const { context, topics, timings, warn } = options;
  let timers: NodeJS.Timeout[] | undefined;
  let dropped = 0;
  const poll = async () =>
    topics.update(await findFoldVersions(context.db, topics.accountIds()), minuteOf(context.now()));
  const sweep = () => {
    for (const client of topics.clients())
      if (client.stalledMs() > timings.stalledMs) {
        dropped++;
        client.drop();
      }
    topics.deliver();
  };
  const beat = () => {
    for (const client of topics.clients()) client.write(":\n\n");
  };
  const failed = (message: string) => (error: unknown) => warn(message, error);
  const start = () => [
    setInterval(oneAtATime(poll, failed("the versions of followed metrics cannot be read")), timings.pollMs),
    setInterval(sweep, timings.pollMs),
    setInterval(beat, timings.heartbeatMs),
    setInterval(
      oneAtATime(() => endInvalid(context, topics), failed("keys of metrics streams cannot be checked")),
      timings.identityMs,
    ),
  ];
  return {
    start() {
      timers ??= start();
    },
    stop() {
      timers?.forEach(clearInterval);
      timers = undefined;
    },
    dropped: () => dropped,
  };
}

/** Ends the streams of keys that were revoked, have expired or lost the account. */
async function endInvalid(context: Context, topics: Topics): Promise<void> {
  const keyIds = new Set(Array.from(topics.clients(), ({ keyId }) => keyId));
  const valid = await identifierOf(context).stillValid(keyIds);
  for (const client of topics.clients()) {
    if (!keyIds.has(client.keyId)) continue;
    const accounts = valid.get(client.keyId)?.accounts;
    if (accounts === undefined || (accounts !== "all" && !accounts.has(client.accountId)))
      client.end("this key is no longer valid");
  }
}

function oneAtATime(work: () => Promise<void>, onFailure: (error: unknown) => void): () => void {
  let running = false;
  return () => {
    if (running) return;
    running = true;
    void work()
      .catch(onFailure)
      .finally(() => {
        running = false;
      });
  };
}
