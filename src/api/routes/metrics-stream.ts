import { z } from "zod";
import type { Context } from "../../context.js";
import { requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { askMetrics, metricsParameters, rememberQueries } from "../metrics-question.js";
import { metricsStreamsOf } from "../metrics-stream/metrics-streams.js";
import type { StreamTimings } from "../metrics-stream/watch.js";
import { type Route, route } from "../route.js";

const parameters = metricsParameters.extend({
  rows: z
    .enum(["true", "false"])
    .default("false")
    .transform((text) => text === "true"),
});

/** `GET /analytics/metrics/stream`: the metrics at once and after every change, as server-sent events. */
export function metricsStreamRoutes(context: Context, timings: Partial<StreamTimings> = {}): Route[] {
  const streams = metricsStreamsOf(context, timings);
  const read = rememberQueries((request) => {
    const { rows, ...query } = readQuery(request, parameters);
    return { rows, asked: askMetrics(context.db, query) };
  });
  return [
    route({
      method: "get",
      path: "/analytics/metrics/stream",
      access: ["viewer"],
      limit: "metrics",
      stream: true,
      async handler(request, response) {
        const { rows, asked } = read(request);
        requireAccount(request.identity, asked.accountId);
        await streams.open(request, response, {
          name: request.originalUrl.slice(request.originalUrl.indexOf("?") + 1),
          accountId: asked.accountId,
          questionOf: (account) => asked.of(account, { rows }),
        });
      },
    }),
  ];
}
