import { randomUUID } from "node:crypto";
import type { Request, RequestHandler, Response } from "express";
import { RequestTimeout, Unavailable } from "../../errors.js";
import type { Log } from "../../log.js";
import type { PublicRequest } from "../route.js";
import { sendProblem } from "./problem.js";

const aborts = new WeakMap<Request, AbortController>();

/** Gives each request its id, its log, its signals and its one access line. */
export function requestScope(log: Log, draining: AbortSignal): RequestHandler {
  return (request, response, next) => {
    const started = performance.now();
    const id = randomUUID();
    const requestLog = log.child({ requestId: id });
    const abort = new AbortController();
    aborts.set(request, abort);
    Object.assign(request, { id, log: requestLog, abandoned: abort.signal, draining });
    response.setHeader("x-request-id", id);
    response.setHeader("cache-control", "no-store");
    if (draining.aborted) response.setHeader("connection", "close");
    const { method } = request;
    const path = request.originalUrl.split("?", 1)[0]!;
    response.once("close", () => {
      if (!response.writableFinished) abort.abort(new Error("the client is gone"));
      const level = path.startsWith("/analytics/health") ? "debug" : "info";
      // Winston would make the line, whether or not anybody wants it.
      if (!requestLog.isLevelEnabled(level)) return;
      requestLog.log(level, "request", {
        method,
        path,
        status: response.statusCode,
        ms: Math.round((performance.now() - started) * 10) / 10,
        ...(response.locals.code === undefined ? {} : { code: response.locals.code }),
        ...(response.writableFinished ? {} : { cut: true }),
      });
    });
    next();
  };
}

/** Answers 503 `timeout`, or 408 where it is the body that does not come, after `timeoutMs`, and fires the signal. */
export function boundTime(request: Request, response: Response, timeoutMs: number): void {
  const timer = setTimeout(() => {
    const error = waitsForBody(request)
      ? new RequestTimeout("body_timeout", `The body did not arrive within ${timeoutMs} ms.`)
      : new Unavailable("timeout", `The request took longer than ${timeoutMs} ms.`, {
          headers: { "retry-after": "5" },
        });
    aborts.get(request)?.abort(error);
    if (response.headersSent) {
      (request as PublicRequest).log.warn("answer cut short by the time-out");
      response.destroy();
    } else sendProblem(request, response, error);
  }, timeoutMs);
  response.once("close", () => clearTimeout(timer));
}

/** Nothing is read before somebody listens, and nothing is waited for once all of it is there. */
const waitsForBody = (request: Request): boolean => request.readableFlowing === true && !request.complete;
