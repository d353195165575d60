import { randomUUID } from "node:crypto";
import type { Express, Request, RequestHandler, Response } from "express";
import { RequestTimeout, Unavailable } from "../../errors.js";
import { DOWNLOADS_PATH } from "../../exports/artifacts/download-url.js";
import type { Log } from "../../log.js";
import type { PublicRequest } from "../route.js";
import { sendProblem } from "./problem.js";

const ENDING = Symbol("ending");
const LOG = Symbol("log");
interface Scoped extends Request {
  id: string;
  [ENDING]: Ending;
  [LOG]?: Log;
}

/** What ends a request before its time. Most end by themselves and nobody asks, so there is a signal for those who do. */
class Ending {
  #controller: AbortController | undefined;
  #reason: Error | undefined;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }
}

/** Gives each request its id, its log, its signals and its one access line. */
export function requestScope(app: Express, log: Log, draining: AbortSignal): RequestHandler {
  Object.defineProperties(app.request, {
    log: {
      get(this: Scoped) {
        this[LOG] ??= log.child({ requestId: this.id });
        return this[LOG];
      },
    },
    abandoned: {
      get(this: Scoped) {
        return this[ENDING].signal;
      },
    },
    draining: { value: draining },
  });
  return (request, response, next) => {
    const started = performance.now();
    const id = randomUUID();
    const ending = new Ending();
    Object.assign(request, { id, [ENDING]: ending });
    response.setHeader("x-request-id", id);
    response.setHeader("cache-control", "no-store");
    if (draining.aborted) response.setHeader("connection", "close");
    const { method } = request;
    const path = withoutSecret(request.originalUrl.split("?", 1)[0]!);
    response.once("close", () => {
      if (!response.writableFinished) ending.abort(new Error("the client is gone"));
      const level = path.startsWith("/analytics/health") ? "debug" : "info";
      // Winston would make the line, whether or not anybody wants it.
      if (!log.isLevelEnabled(level)) return;
      (request as PublicRequest).log.log(level, "request", {
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

/** The end of a download link opens the file to whoever reads it, so the log has its id alone. */
const withoutSecret = (path: string) =>
  path.startsWith(`${DOWNLOADS_PATH}/`) && path.length > KNOWN_LENGTH
    ? `${path.slice(0, KNOWN_LENGTH)}.…`
    : path;
const KNOWN_LENGTH = `${DOWNLOADS_PATH}/00000000-0000-0000-0000-000000000000`.length;

/** Answers 503 `timeout`, or 408 where it is the body that does not come, after `timeoutMs`, and fires the signal. */
export function boundTime(request: Request, response: Response, timeoutMs: number): void {
  const timer = setTimeout(() => {
    const error = waitsForBody(request)
      ? new RequestTimeout("body_timeout", `The body did not arrive within ${timeoutMs} ms.`)
      : new Unavailable("timeout", `The request took longer than ${timeoutMs} ms.`, {
          headers: { "retry-after": "5" },
        });
    (request as Scoped)[ENDING].abort(error);
    if (response.headersSent) {
      (request as PublicRequest).log.warn("answer cut short by the time-out");
      response.destroy();
    } else sendProblem(request, response, error);
  }, timeoutMs);
  response.once("close", () => clearTimeout(timer));
}

/** Nothing is read before somebody listens, and nothing is waited for once all of it is there. */
const waitsForBody = (request: Request): boolean => request.readableFlowing === true && !request.complete;
