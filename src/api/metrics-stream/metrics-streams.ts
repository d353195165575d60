import type { Response } from "express";
import type { Context } from "../../context.js";
import type { FoldVersion } from "../../db/queries/fold-versions.js";
import { seldomWarnings } from "../../log.js";
import { metricsCacheOf, minuteOf, type Question } from "../metrics-cache/metrics-cache.js";
import type { ApiRequest } from "../route.js";
import { createAdmission } from "./admission.js";
import { createStreamClient, eventId, type StreamClient, toEvent } from "./stream-client.js";
import { createTopics } from "./topics.js";
import { createWatch, type StreamTimings, shippedTimings } from "./watch.js";

/** A client that lost its stream comes back after so long. */
const RETRY_MS = 2_000;

const PROCESS_ENDS = "the process ends; another one answers";

/** What a client wants to follow. The same `name` means the same question. */
export interface Followed {
  name: string;
  accountId: string;
  questionOf(account: FoldVersion): Question;
}

export interface MetricsStreams {
  /** Answers with a stream that ends with the client, the key or the process. Throws while it can still be refused. */
  open(request: ApiRequest, response: Response, followed: Followed): Promise<void>;
  describe(): Record<string, number>;
}

const ofContext = new WeakMap<Context, MetricsStreams>();

/** The streams of a process; the first call decides on the timings. */
export function metricsStreamsOf(context: Context, timings: Partial<StreamTimings> = {}): MetricsStreams {
  let streams = ofContext.get(context);
  if (!streams) {
    streams = createMetricsStreams(context, { ...shippedTimings, ...timings });
    ofContext.set(context, streams);
  }
  return streams;
}

function createMetricsStreams(context: Context, timings: StreamTimings): MetricsStreams {
  const cache = metricsCacheOf(context);
  const admission = createAdmission(context.config.metricsStream);
  const seldom = seldomWarnings();
  const warn = (message: string, error: unknown) => seldom(context.log, message, { error });
  const topics = createTopics(cache, (error) => warn("followed metrics cannot be computed", error));
  const watch = createWatch({ context, topics, timings, warn });
  const endWith = onceForEach<AbortSignal>((draining) =>
    draining.addEventListener("abort", () => {
      for (const client of topics.clients()) client.end(PROCESS_ENDS);
    }),
  );
  const follow = (response: Response, { name, questionOf }: Followed, client: StreamClient) => {
    topics.follow(name, questionOf, client);
    watch.start();
    response.once("close", () => {
      topics.leave(name, client);
      if (topics.size() === 0) watch.stop();
    });
  };
  return {
    async open(request, response, followed) {
      const { keyId } = request.identity;
      admission.admit(keyId, response);
      const account = await cache.account(followed.accountId);
      const question = followed.questionOf(account);
      const seen = question.dependsOnNow ? { ...account, minute: minuteOf(context.now()) } : account;
      const isKnown = request.headers["last-event-id"] === eventId(seen);
      const first = isKnown ? undefined : (await cache.answer(question)).answer;
      if (request.abandoned.aborted) return;
      startStream(response);
      if (request.method === "HEAD") {
        response.end();
        return;
      }
      response.write(`retry: ${RETRY_MS}\n\n`);
      if (first) response.write(toEvent(seen, first.bytes));
      if (request.draining.aborted) {
        response.end(`: ${PROCESS_ENDS}\n\n`);
        return;
      }
      endWith(request.draining);
      follow(
        response,
        followed,
        createStreamClient(response, { keyId, accountId: followed.accountId, seen }),
      );
    },
    describe: () => ({ open: admission.open(), questions: topics.size(), dropped: watch.dropped() }),
  };
}

/** Nothing on the way may keep events back, compress or store them. */
function startStream(response: Response): void {
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
  });
}

function onceForEach<T extends object>(work: (value: T) => void): (value: T) => void {
  const done = new WeakSet<T>();
  return (value) => {
    if (done.has(value)) return;
    done.add(value);
    work(value);
  };
}
