import type { FoldVersion } from "../../db/queries/fold-versions.js";
import { AppError } from "../../errors.js";
import type { MetricsCache, Question } from "../metrics-cache/metrics-cache.js";
import { isNews, type Moment, type StreamClient, toEvent } from "./stream-client.js";

/**
 * More than have a turn at the database, so that none waits for one whose answer another process has. The rest can still be
 * replaced by what is newer.
 */
const MAX_COMPUTATIONS = 16;

/**
 * One question that clients follow: computed once for a version, and for a minute where it depends on the time, the same
 * bytes for all of them.
 */
interface Topic {
  accountId: string;
  questionOf: (account: FoldVersion) => Question;
  dependsOnNow: boolean;
  clients: Set<StreamClient>;
  /** What is being computed, or was. */
  wanted: Moment | undefined;
  latest: { moment: Moment; event: Buffer } | undefined;
}

export interface Topics {
  follow(name: string, questionOf: (account: FoldVersion) => Question, client: StreamClient): void;
  leave(name: string, client: StreamClient): void;
  accountIds(): string[];
  clients(): Iterable<StreamClient>;
  size(): number;
  /** Computes what these versions and the minute have changed, and sends it. What failed is tried again. */
  update(versions: ReadonlyMap<string, FoldVersion>, minute: number): void;
  /** Sends the newest to those who were too slow for it before. */
  deliver(): void;
}

export function createTopics(cache: MetricsCache, onFailure: (error: unknown) => void): Topics {
  const topics = new Map<string, Topic>();
  const stale = new Map<Topic, Moment>();
  let computing = 0;

  const deliver = ({ latest, clients }: Topic) => {
    if (!latest) return;
    for (const client of clients)
      if (isNews(latest.moment, client.seen) && client.write(latest.event)) client.seen = latest.moment;
  };
  const compute = async (topic: Topic, moment: Moment) => {
    try {
      const { answer } = await cache.answer({ ...topic.questionOf(moment), isFollowed: true });
      if (isNews(moment, topic.latest?.moment))
        topic.latest = { moment, event: toEvent(moment, answer.bytes) };
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
    for (const [topic, moment] of stale) {
      if (computing >= MAX_COMPUTATIONS) return;
      stale.delete(topic);
      if (topic.clients.size === 0) continue;
      computing++;
      void compute(topic, moment).finally(() => {
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
        dependsOnNow: questionOf(client.seen).dependsOnNow ?? false,
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
    update(versions, minute) {
      for (const topic of topics.values()) {
        const account = versions.get(topic.accountId);
        const moment = account && (topic.dependsOnNow ? { ...account, minute } : account);
        if (!moment || !isNews(moment, topic.wanted)) continue;
        topic.wanted = moment;
        stale.set(topic, moment);
      }
      computeNext();
    },
    deliver: () => topics.forEach(deliver),
  };
}
