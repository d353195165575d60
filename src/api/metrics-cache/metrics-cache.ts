import { hash } from "node:crypto";
import { metrics } from "../../analytics/catalog.js";
import type { Context } from "../../context.js";
import { type FoldVersion, findFoldVersions } from "../../db/queries/fold-versions.js";
import { accountNotFound } from "../identity.js";
import { serviceVersion } from "../service-version.js";
import { type Answer, createMemoryAnswers, toAnswer } from "./memory-answers.js";
import { createRedisAnswers } from "./redis-answers.js";
import { createTurns } from "./turns.js";
import { createVersionReader, MAX_LOOKUPS } from "./version-reader.js";

const MINUTE_MS = 60_000;

/** The number of the minute: what depends on the time is computed once in each. */
export const minuteOf = (now: Date): number => Math.floor(now.getTime() / MINUTE_MS);

/** What is asked of an account's numbers. */
export interface Question {
  account: FoldVersion;
  /** Everything the answer depends on besides the account and its version: what is asked, normalised, with its zone. */
  parts: string;
  /** The answer also depends on the time: it is computed for the start of the minute and holds for that minute. */
  dependsOnNow?: boolean;
  /** Streams ask it, whose readers are to see a change soon: it is not kept waiting behind requests. */
  isFollowed?: boolean;
  /** The answer as it goes out as JSON. `now` is the start of the minute where the answer depends on it. */
  compute(now: Date): Promise<unknown>;
}

/** Where an answer came from; `collapsed`: another request that asked the same was computing it. */
export type Source = "memory" | "shared" | "collapsed" | "computed";

export interface MetricsCache {
  /** The account as it is now. Throws `NotFound`. Requests share the lookup, which costs one statement. */
  account(accountId: string): Promise<FoldVersion>;
  /** The remembered answer, or a computed one. Errors of `compute` go to all who wait for it and are not remembered. */
  answer(question: Question): Promise<{ answer: Answer; source: Source }>;
  describe(): Record<string, unknown>;
}

const caches = new WeakMap<Context, MetricsCache>();

/** The one cache of a process. */
export function metricsCacheOf(context: Context): MetricsCache {
  let cache = caches.get(context);
  if (!cache) {
    cache = createMetricsCache(context);
    caches.set(context, cache);
  }
  return cache;
}

function createMetricsCache(context: Context): MetricsCache {
  const { config, db, installation, log } = context;
  const { memoryBytes, ttlMs } = config.metricsCache;
  const memory = createMemoryAnswers({ maxBytes: memoryBytes, nowMs: () => performance.now() });
  const { url } = config.redis;
  const shared =
    url && config.metricsCache.shared && ttlMs > 0
      ? createRedisAnswers({ url, installationId: installation.installationId, build: buildDigest(), log })
      : undefined;
  context.beforeClose.push(async () => shared?.close());
  const readVersion = createVersionReader((accountIds) => findFoldVersions(db, accountIds));
  // A fold makes all questions about an account new at once. The versions, which every request needs, must find a
  // database connection all the same.
  const turns = Math.max(1, Math.floor((config.database.poolSize - MAX_LOOKUPS) / 2));
  const inTurn = { requests: createTurns(turns), streams: createTurns(turns) };
  const flights = new Map<string, Promise<{ answer: Answer; source: Source }>>();
  const counts: Record<Source, number> = { memory: 0, shared: 0, collapsed: 0, computed: 0 };

  /** Belongs to no request: whoever asked first may leave without taking it from the others. */
  const fly = async (key: string, question: Question, now: Date) => {
    const known = await shared?.get(key);
    if (known) {
      const answer = toAnswer(known.bytes);
      memory.set(key, answer, known.ttlMs);
      return { answer, source: "shared" as const };
    }
    const json = await inTurn[question.isFollowed ? "streams" : "requests"](async () =>
      JSON.stringify(await question.compute(now)),
    );
    const answer = toAnswer(Buffer.from(json));
    memory.set(key, answer, ttlMs);
    shared?.set(key, answer.bytes, ttlMs);
    return { answer, source: "computed" as const };
  };
  const find = async (question: Question): Promise<{ answer: Answer; source: Source }> => {
    const now = nowOf(question, context.now());
    const key = keyOf(question, now);
    const known = memory.get(key);
    if (known) return { answer: known, source: "memory" };
    const flight = flights.get(key);
    if (flight) return { answer: (await flight).answer, source: "collapsed" };
    const own = fly(key, question, now);
    flights.set(key, own);
    try {
      return await own;
    } finally {
      flights.delete(key);
    }
  };
  return {
    async account(accountId) {
      const version = await readVersion(accountId);
      if (!version) throw accountNotFound();
      return version;
    },
    async answer(question) {
      const found = await find(question);
      counts[found.source]++;
      return found;
    },
    describe: () => ({
      ...describeCounts(counts),
      ...memory.size(),
      limit_bytes: memoryBytes,
      shared_store: shared ? "redis" : "none",
      shared_failures: shared?.failures() ?? 0,
    }),
  };
}

/** After an upgrade, answers of another shape or meaning must not be found, though no number has changed. */
const buildDigest = (): string =>
  hash("sha256", JSON.stringify([serviceVersion(), metrics]), "base64url").slice(0, 10);

function nowOf({ dependsOnNow }: Question, now: Date): Date {
  return dependsOnNow ? new Date(minuteOf(now) * MINUTE_MS) : now;
}

/** Ids of accounts hold no NUL, so no two questions have one key. */
const keyOf = ({ account, parts, dependsOnNow }: Question, now: Date): string =>
  [account.accountId, account.version, dependsOnNow ? now.getTime() : "", parts].join("\0");

/** A request that waited for another one's computation cost nothing either, so it counts as a hit. */
function describeCounts(counts: Record<Source, number>): Record<string, number | null> {
  const hits = counts.memory + counts.shared + counts.collapsed;
  const all = hits + counts.computed;
  return {
    hit_ratio: all === 0 ? null : hits / all,
    memory_hits: counts.memory,
    shared_hits: counts.shared,
    collapsed: counts.collapsed,
    computed: counts.computed,
  };
}
