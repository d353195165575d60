import { z } from "zod";
import { type Metric, metrics } from "../../analytics/catalog.js";
import type { Context } from "../../context.js";
import { requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { metricsCacheOf } from "../metrics-cache/metrics-cache.js";
import { sendAnswer } from "../metrics-cache/send-answer.js";
import { readMetricsQuestion } from "../metrics-question.js";
import { type Route, route } from "../route.js";

export function metricsRoutes(context: Context): Route[] {
  const cache = metricsCacheOf(context);
  const read = readMetricsQuestion(context.db);
  return [
    route({
      method: "get",
      path: "/analytics/metrics",
      access: ["viewer"],
      limit: "metrics",
      async handler(request, response) {
        const asked = read(request);
        requireAccount(request.identity, asked.accountId);
        const account = await cache.account(asked.accountId);
        await sendAnswer(context, request, response, asked.of(account));
      },
    }),
    route({
      method: "get",
      path: "/analytics/metrics/catalog",
      access: ["viewer"],
      handler(request, response) {
        readQuery(request, z.strictObject({}));
        response.json({ data: metrics.map(presentMetric) });
      },
    }),
  ];
}

const presentMetric = ({ id, family, unit, title, definition, formula, measure, dimensions }: Metric) => ({
  id,
  family,
  unit,
  kind: measure.kind,
  title,
  definition,
  formula,
  dimensions,
});
