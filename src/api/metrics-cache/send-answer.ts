import type { Request, Response } from "express";
import type { Context } from "../../context.js";
import { namesTag } from "../entity-tag.js";
import { metricsCacheOf, type Question, type Source } from "./metrics-cache.js";

/** RFC 9211. */
const cacheStatus: Record<Source, string> = {
  memory: "analytics; hit",
  shared: "analytics; hit; detail=shared",
  collapsed: "analytics; fwd=miss; collapsed",
  computed: "analytics; fwd=miss",
};

/**
 * Answers a question about an account's numbers: from the cache where it can, 304 where the client has these bytes. The
 * client has to ask every time, which costs little here, because a cached answer is exact and an aged one is not.
 */
export async function sendAnswer(
  context: Context,
  request: Request,
  response: Response,
  question: Question,
): Promise<void> {
  const { answer, source } = await metricsCacheOf(context).answer(question);
  // The time-out may have answered meanwhile.
  if (response.headersSent) return;
  response.setHeader("etag", answer.etag);
  response.setHeader("cache-control", "private, no-cache");
  response.setHeader("vary", "Authorization, X-API-Key");
  response.setHeader("cache-status", cacheStatus[source]);
  if (namesTag(request.headers["if-none-match"], answer.etag)) {
    response.statusCode = 304;
    response.end();
    return;
  }
  response.setHeader("content-type", "application/json; charset=utf-8");
  response.setHeader("content-length", answer.bytes.length);
  response.end(answer.bytes);
}
