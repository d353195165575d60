import { randomUUID } from "node:crypto";
import { inspect } from "node:util";
import type { ErrorRequestHandler, Request, Response } from "express";
import { databaseUnavailable } from "../../db/errors.js";
import {
  AppError,
  InvalidInput,
  NotFound,
  RangeNotSatisfiable,
  TooLarge,
  Unavailable,
  UnsupportedMedia,
} from "../../errors.js";
import { type Log, seldomWarnings } from "../../log.js";
import type { PublicRequest } from "../route.js";
import { closeAfterAnswer, hasUnreadBody } from "./linger.js";

const PROBLEM_TYPE = "urn:whatsapp-analytics:error:";

const warn = seldomWarnings();

/**
 * The last middleware: every error becomes one RFC 9457 document and, if it is ours to fix, one log line under the
 * request's id. Depends on nothing that an earlier one may have failed to do.
 */
export function errorHandler(log: Log): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const scoped = request as Partial<PublicRequest>;
    if (scoped.id === undefined) {
      scoped.id = randomUUID();
      response.setHeader("x-request-id", scoped.id);
    }
    let known: AppError | undefined;
    try {
      known = toAppError(error);
      report(log, scoped.id, error, known, response);
    } catch (failure) {
      // An error that cannot be read or written down must not cost the answer.
      process.emitWarning(`the error of request ${scoped.id} could not be logged: ${inspect(failure)}`);
    }
    if (!response.headersSent) sendProblem(request, response, known ?? internalError());
    // The status is out: cutting the connection is the only way to tell the client that the rest is missing.
    else if (!response.writableEnded) response.destroy();
  };
}

function report(
  log: Log,
  requestId: string,
  error: unknown,
  known: AppError | undefined,
  response: Response,
): void {
  if (response.headersSent) {
    if (!response.writableEnded) log.warn("answer cut short", { requestId, error });
    else if (!known) log.error("error after the answer", { requestId, error });
  } else if (!known) log.error("request failed", { requestId, error });
  else if (known.status >= 500)
    warn(log, `request refused: ${known.code}`, { requestId, error: known.cause });
}

/** Answers with a problem document; `instance` is the request id. */
/** Said of a file before it turned out that there is none to send. */
const OF_A_FILE = ["content-disposition", "etag", "repr-digest", "accept-ranges"];

export function sendProblem(request: Request, response: Response, error: AppError): void {
  response.locals.code = error.code;
  // Who has stopped in the middle of a body does not go on with another request.
  if (hasUnreadBody(request) || error.status === 408) closeAfterAnswer(request, response);
  for (const name of OF_A_FILE) response.removeHeader(name);
  for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  if (error.status === 401 && !response.hasHeader("www-authenticate"))
    response.setHeader("www-authenticate", "Bearer");
  const body = JSON.stringify({
    type: PROBLEM_TYPE + error.code,
    title: error.title,
    status: error.status,
    code: error.code,
    detail: error.message,
    instance: (request as PublicRequest).id,
    errors: error.issues,
  });
  response
    .status(error.status)
    .setHeader("content-type", "application/problem+json")
    .setHeader("content-length", Buffer.byteLength(body))
    .end(body);
}

const internalError = () =>
  new AppError("internal_error", "Something went wrong on our side; the request id names it in our log.");

function toAppError(error: unknown): AppError | undefined {
  if (error instanceof AppError) return error;
  // Express cannot decode a path parameter: such an id does not exist.
  if (error instanceof URIError) return new NotFound("not_found", "There is nothing at this path.");
  return fromHttpError(error) ?? databaseUnavailable(error);
}

/** Errors of Express' own parts (parsers, static files) carry a status and are safe to show by it alone. */
function fromHttpError(error: unknown): AppError | undefined {
  if (!(error instanceof Error)) return undefined;
  const { status, expose, type } = error as { status?: unknown; expose?: unknown; type?: unknown };
  if (expose !== true || typeof status !== "number") return undefined;
  if (status === 404 || status === 403) return new NotFound("not_found", "There is nothing at this path.");
  if (status === 413) return new TooLarge("body_too_large", "The body is too large.");
  if (status === 415) return new UnsupportedMedia("unsupported_media_type", "This body cannot be read here.");
  if (status === 416) return new RangeNotSatisfiable("range_not_satisfiable", "There are no such bytes.");
  if (status === 503) return new Unavailable("unavailable", "Try again shortly.");
  const code = type === "entity.parse.failed" ? "invalid_json" : "bad_request";
  return new InvalidInput(code, "The request cannot be understood.");
}
