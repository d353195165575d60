import type { Context } from "../../context.js";
import { schemaDifference } from "../../db/migrate.js";
import { unreadAccounts, unsettledAccounts } from "../../db/queries/backlog.js";
import { measureClockSkew, skewSeconds } from "../../db/queries/clock.js";
import { countOpenRuns, serverVersion } from "../../db/queries/diagnostics.js";
import { oldestChecks } from "../../db/queries/drift-checks.js";
import { listQueuePauses } from "../../db/queries/queue-pauses.js";
import { liveWorkers } from "../../db/queries/workers.js";
import { withDeadline } from "../deadline.js";
import { requireAllAccounts } from "../identity.js";
import { metricsCacheOf } from "../metrics-cache/metrics-cache.js";
import { metricsStreamsOf } from "../metrics-stream/metrics-streams.js";
import { type Route, route } from "../route.js";
import { serviceVersion } from "../service-version.js";

const PART_TIMEOUT_MS = 2_000;
const CHECKS_SHOWN = 100;

/** What an operator asks first when something is slow. Answers also while parts of it are away. */
export function diagnosticsRoutes(context: Context): Route[] {
  const { db, pool, queues, config } = context;
  const part = async <T>(work: Promise<T>): Promise<T | { unavailable: string }> => {
    try {
      return await withDeadline(work, PART_TIMEOUT_MS);
    } catch (error) {
      return { unavailable: error instanceof Error ? error.message : String(error) };
    }
  };
  return [
    route({
      method: "get",
      path: "/analytics/diagnostics",
      access: ["operator"],
      async handler(request, response) {
        requireAllAccounts(request.identity);
        const [
          postgres,
          difference,
          skew,
          counts,
          openRuns,
          queueHealth,
          checks,
          unsettled,
          unread,
          pauses,
          workers,
        ] = await Promise.all([
          part(serverVersion(db)),
          part(schemaDifference(db)),
          part(measureClockSkew(db, context.now).then(skewSeconds)),
          part(queues.counts()),
          part(countOpenRuns(db)),
          part(queues.ping().then(() => "ok")),
          part(oldestChecks(db, CHECKS_SHOWN)),
          part(unsettledAccounts(db)),
          part(unreadAccounts(db)),
          part(listQueuePauses(db)),
          part(liveWorkers(db)),
        ]);
        response.json({
          versions: { service: serviceVersion(), node: process.versions.node, postgres },
          pid: process.pid,
          uptime_seconds: Math.floor(process.uptime()),
          memory_bytes: process.memoryUsage.rss(),
          draining: request.draining.aborted,
          database_pool: {
            size: config.database.poolSize,
            open: pool.totalCount,
            idle: pool.idleCount,
            waiting: pool.waitingCount,
          },
          schema: Array.isArray(difference)
            ? { in_step: difference.length === 0, difference }
            : { in_step: null, ...difference },
          clock_skew_seconds: skew,
          rate_limit_store: config.redis.url ? "redis" : "memory",
          metrics_cache: metricsCacheOf(context).describe(),
          metrics_streams: metricsStreamsOf(context).describe(),
          queue_store: config.redis.url ? "redis" : "postgres",
          queue_health: queueHealth,
          queues: counts,
          paused_queues: pauses,
          workers,
          open_runs: openRuns,
          unsettled_rollups: unsettled,
          unread_chats: unread,
          oldest_drift_checks: checks,
        });
      },
    }),
  ];
}
