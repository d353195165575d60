import express, { type Express, type RequestHandler } from "express";
import type { Context } from "../context.js";
import type { Role } from "../db/schema.js";
import { Forbidden, MethodNotAllowed, NotFound } from "../errors.js";
import { createBullBoard } from "./bull-board.js";
import { errorHandler } from "./middleware/problem.js";
import { boundTime, requestScope } from "./middleware/request-scope.js";
import { secureHeaders } from "./middleware/secure-headers.js";
import { countedIdentity } from "./rate-limit/counted-identity.js";
import { limiterOf } from "./rate-limit/limiter.js";
import type { Access, ApiRequest, Method, PublicRequest, Route } from "./route.js";

/** Each role and those whose routes it may call too. `admin` may call everything. */
const INCLUDED: Record<Role, readonly Role[]> = {
  viewer: ["viewer"],
  analyst: ["analyst", "viewer"],
  ingest: ["ingest"],
  operator: ["operator"],
  admin: ["admin", "operator", "ingest", "analyst", "viewer"],
};

/** Whether a key of this role may call a route that declares `access`. */
export const mayCall = (access: Access, role: Role): boolean =>
  access === "public" || access.some((needed) => INCLUDED[role].includes(needed));

/**
 * The Express application: Bull Board, the routes, and what they share. Opens nothing. Throws when two routes claim
 * the same method and path. `draining` turns readiness to 503 and tells open-ended streams to end.
 */
export function createApp(
  context: Context,
  routes: readonly Route[],
  options: { draining?: AbortSignal } = {},
): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("trust proxy", false);
  app.set("query parser", "simple");
  app.enable("case sensitive routing");
  app.use(requestScope(app, context.log, options.draining ?? new AbortController().signal));
  if (context.config.http.secureHeaders) app.use(secureHeaders());
  app.use("/admin", createBullBoard(context));
  const handlers = byPath(routes).map(([path, methods]) => [path, dispatch(methods, context)] as const);
  app.use(byName(new Map(handlers.filter(([path]) => !/[:*]/.test(path)))));
  for (const [path, handler] of handlers) app.all(path, handler);
  app.use(() => {
    throw new NotFound("not_found", "There is nothing at this path.");
  });
  app.use(errorHandler(context.log));
  app.locals.routes = routes;
  return app;
}

/** Express tries one path after the other. Those without parameters, which are asked for most, are found at once. */
const byName =
  (handlers: ReadonlyMap<string, RequestHandler>): RequestHandler =>
  (request, response, next) =>
    (handlers.get(request.path) ?? passOn)(request, response, next);
const passOn: RequestHandler = (_request, _response, next) => next();

/** Every declared route of an application, for tests and documentation. */
export const listRoutes = (app: Express): readonly Route[] => app.locals.routes as readonly Route[];

type Methods = Map<Method, Route>;

function byPath(routes: readonly Route[]): [string, Methods][] {
  const paths = new Map<string, Methods>();
  for (const route of routes) {
    const methods = paths.get(route.path) ?? new Map<Method, Route>();
    if (methods.has(route.method)) throw new Error(`two routes for ${route.method} ${route.path}`);
    paths.set(route.path, methods.set(route.method, route));
  }
  return [...paths].sort(([a], [b]) => compareSpecificity(a, b));
}

/** `/runs/latest` before `/runs/:id`, whatever the order of the list. */
function compareSpecificity(a: string, b: string): number {
  const rank = (segment: string | undefined) =>
    segment === undefined ? 0 : segment.includes("*") ? 3 : segment.includes(":") ? 2 : 1;
  const [left, right] = [a.split("/"), b.split("/")];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = rank(left[i]) - rank(right[i]);
    if (difference !== 0) return difference;
  }
  return 0;
}

function dispatch(methods: Methods, context: Context): RequestHandler {
  const limiter = limiterOf(context);
  const { timeoutMs } = context.config.http;
  const names = [...methods.keys()].map((method) => method.toUpperCase());
  const allow = [...(methods.has("get") ? ["HEAD"] : []), ...names, "OPTIONS"].sort().join(", ");
  return async (request, response) => {
    if (request.method === "OPTIONS") {
      response.status(204).setHeader("allow", allow).end();
      return;
    }
    const method = request.method === "HEAD" ? "get" : request.method.toLowerCase();
    const route = methods.get(method as Method);
    if (!route)
      throw new MethodNotAllowed("method_not_allowed", `This path answers ${allow}.`, { headers: { allow } });
    if (!route.stream) boundTime(request, response, timeoutMs);
    const rateClass = route.limit ?? "default";
    const count = async (keyId?: string) => {
      if (rateClass !== "unlimited") await limiter.count(request, response, rateClass, keyId);
    };
    if (route.access === "public") {
      await count();
      return route.handler(request as PublicRequest, response);
    }
    const identity = await countedIdentity(context, request, response);
    await count(identity.keyId);
    if (!mayCall(route.access, identity.role))
      throw new Forbidden("role_not_allowed", `A key of role ${identity.role} may not do this.`);
    await route.handler(Object.assign(request as PublicRequest, { identity }) as ApiRequest, response);
  };
}
