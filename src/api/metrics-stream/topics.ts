import type { FoldVersion } from "../../db/queries/fold-versions.js";
import { AppError } from "../../errors.js";
import type { MetricsCache, Question } from "../metrics-cache/metrics-cache.js";
import { isNews, type StreamClient, toEvent } from "./stream-client.js";

/** Requests need database connections too, and all topics may change at once. These do not wait for theirs. */
const MAX_COMPUTATIONS = 2;

/** One question that clients follow: computed once for a version, the same bytes for all of them. */
interface Topic {
  accountId: string;
  questionOf: (account: FoldVersion) => Question;
  clients: Set<StreamClient>;
  /** What is being computed, or was. */
  wanted: FoldVersion | undefined;
  latest: { account: FoldVersion; event: Buffer } | undefined;
}

export interface Topics {
  follow(name: string, questionOf: (account: FoldVersion) => Question, client: StreamClient): void;
  leave(name: string, client: StreamClient): void;
  accountIds(): string[];
  clients(): Iterable<StreamClient>;
  size(): number;
  /** Computes what these versions have changed, and sends it. A version that failed is tried again. */
  update(versions: ReadonlyMap<string, FoldVersion>): void;
  /** Sends the newest to those who were too slow for it before. */
  deliver(): void;
}

export function createTopics(cache: MetricsCache, onFailure: (error: unknown) => void): Topics {
  const topics = new Map<string, Topic>();
  const stale = new Map<Topic, FoldVersion>();
  let computing = 0;

  const deliver = ({ latest, clients }: Topic) => {
    if (!latest) return;
    for (const client of clients)
      if (isNews(latest.account, client.seen) && client.write(latest.event)) client.seen = latest.account;
  };
  const compute = async (topic: Topic, account: FoldVersion) => {
    try {
      const { answer } = await cache.answer({ ...topic.questionOf(account), atOnce: true });
      if (isNews(account, topic.latest?.account))
        topic.latest = { account, event: toEvent(account.version, answer.bytes) };
      deliver(topic);
    } catch (error) {
      topic.wanted = undefined;
      // Who comes again is told what is wrong, as the answer to the request.
      if (error instanceof AppError && error.status < 500)
        for (const client of topic.clients) client.end(error.code);
      else onFailure(error);
    }
  };
  const computeNext = () => {
    for (const [topic, account] of stale) {
      if (computing >= MAX_COMPUTATIONS) return;
      stale.delete(topic);
      if (topic.clients.size === 0) continue;
      computing++;
      void compute(topic, account).finally(() => {
        computing--;
        computeNext();
      });
    }
  };
  return {
    follow(name, questionOf, client) {
      const topic = topics.get(name) ?? {
        accountId: client.accountId,
        questionOf,
        clients: new Set(),
        wanted: client.seen,
        latest: undefined,
      };
      topics.set(name, topic);
      topic.clients.add(client);
      // Who has waited long for its first event knows less than those before it, who may have got theirs elsewhere.
      if (!topic.latest && topic.wanted && isNews(topic.wanted, client.seen)) topic.wanted = client.seen;
      deliver(topic);
    },
    leave(name, client) {
      const topic = topics.get(name);
      topic?.clients.delete(client);
      if (topic?.clients.size === 0) topics.delete(name);
    },
    accountIds: () => [...new Set(Array.from(topics.values(), (topic) => topic.accountId))],
    *clients() {
      for (const topic of topics.values()) yield* topic.clients;
    },
    size: () => topics.size,
    update(versions) {
      for (const topic of topics.values()) {
        const account = versions.get(topic.accountId);
        if (!account || !isNews(account, topic.wanted)) continue;
        topic.wanted = account;
        stale.set(topic, account);
      }
      computeNext();
    },
    deliver: () => topics.forEach(deliver),
  };
}
