import type { Response } from "express";
import { type Context, queueStore } from "../../context.js";
import { schemaDifference } from "../../db/migrate.js";
import { isSkewed, measureClockSkew, skewSeconds } from "../../db/queries/clock.js";
import { withDeadline } from "../deadline.js";
import { type PublicRequest, type Route, route } from "../route.js";

const CHECK_TIMEOUT_MS = 2_000;

type Status = "ok" | "draining" | "unavailable";

/** Status only, for probes: what is wrong is in the log and under `/analytics/diagnostics`. */
export function healthRoutes(context: Context): Route[] {
  const dependencies = sharedCheck(context);
  const ready = async (request: PublicRequest, response: Response) => {
    const status: Status = request.draining.aborted ? "draining" : await dependencies(request);
    response.status(status === "ok" ? 200 : 503).json({ status });
  };
  return [
    route({ method: "get", path: "/analytics/health", access: "public", limit: "health", handler: ready }),
    route({
      method: "get",
      path: "/analytics/health/ready",
      access: "public",
      limit: "health",
      handler: ready,
    }),
    route({
      method: "get",
      path: "/analytics/health/live",
      access: "public",
      limit: "health",
      handler: (_request, response) => void response.json({ status: "ok" }),
    }),
  ];
}

/** Anybody may ask, as often as they like: all who ask at the same time share one check. */
function sharedCheck(context: Context): (request: PublicRequest) => Promise<Status> {
  let running: Promise<Status> | undefined;
  return (request) => {
    running ??= check(context, request).finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function check(context: Context, { log }: PublicRequest): Promise<Status> {
  const { db, queues } = context;
  try {
    const [difference, skew] = await Promise.all([
      withDeadline(schemaDifference(db), CHECK_TIMEOUT_MS),
      withDeadline(measureClockSkew(db, context.now), CHECK_TIMEOUT_MS),
      withDeadline(queues.ping(), CHECK_TIMEOUT_MS),
    ]);
    if (difference.length > 0) {
      log.warn("not ready: the schema is out of step", { migrations: difference });
    } else if (isSkewed(skew) && clockMatters(context)) {
      log.warn("not ready: the clock differs from the database's", { skewSeconds: skewSeconds(skew) });
    } else {
      return "ok";
    }
  } catch (error) {
    log.warn("not ready", { error });
  }
  return "unavailable";
}

/** Queues in Postgres go by the clocks of their clients, Redis by its own. */
const clockMatters = ({ config, databaseUrl }: Context) =>
  queueStore(config, databaseUrl).kind === "postgres";
