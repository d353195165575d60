import type { Request, Response } from "express";
import type { RateClass } from "../config.js";
import type { Role } from "../db/schema.js";
import { NotFound } from "../errors.js";
import type { Log } from "../log.js";
import type { Identity } from "./identity.js";

/** Who may call: anybody, or every key whose role includes one of these. `admin` is always included. */
export type Access = "public" | readonly Role[];
export type Method = "get" | "post" | "put" | "patch" | "delete";

/** What the shell adds to every request. */
export interface PublicRequest extends Request {
  /** Ours, also sent as `x-request-id`. */
  id: string;
  log: Log;
  /** Fires when the client is gone or the time-out is over. */
  abandoned: AbortSignal;
  /** Fires when the process begins to drain; open-ended streams end themselves then. */
  draining: AbortSignal;
}

export interface ApiRequest extends PublicRequest {
  identity: Identity;
}

interface Declaration {
  method: Method;
  /** As Express 5 writes it: `/analytics/keys/:id`. */
  path: string;
  /** Which rate limit counts its calls; `default` unless it says otherwise. */
  limit?: RateClass | "unlimited";
  /** The route bounds its own time: the request time-out does not apply. */
  stream?: boolean;
}

interface PublicRoute extends Declaration {
  access: "public";
  handler: (request: PublicRequest, response: Response) => void | Promise<void>;
}

interface GuardedRoute extends Declaration {
  access: readonly Role[];
  handler: (request: ApiRequest, response: Response) => void | Promise<void>;
}

export type Route = PublicRoute | GuardedRoute;

/** Declares one route; `createApp` does the rest (access, 405, time-out, errors). */
export function route(declaration: PublicRoute): Route;
export function route(declaration: GuardedRoute): Route;
export function route(declaration: Route): Route {
  return declaration;
}

const ID_LENGTH = 512;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** One path parameter. An id that cannot exist is `NotFound`, like one that does not. */
export function pathId(request: Request, name: string): string {
  const value = request.params[name];
  if (typeof value !== "string" || value.length > ID_LENGTH || value.includes("\0")) throw unknownId();
  return value;
}

/** The same for ids that are UUIDs. */
export function pathUuid(request: Request, name: string): string {
  const value = pathId(request, name);
  if (!UUID.test(value)) throw unknownId();
  return value.toLowerCase();
}

const unknownId = () => new NotFound("not_found", "There is nothing with this id.");
