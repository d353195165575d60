import { z } from "zod";
import { findMetric } from "../../analytics/catalog.js";
import { isSumOfHours, planHeatmap, requireHeatmapRange } from "../../analytics/heatmap-plan.js";
import {
  type MetricsQuery,
  metricId,
  metricsScalars,
  toMetricsQuery,
} from "../../analytics/metrics-query.js";
import type { Context } from "../../context.js";
import type { Db } from "../../db/client.js";
import { readHeatmap } from "../../db/queries/read-heatmap.js";
import { InvalidInput } from "../../errors.js";
import { filterParameters, filtersOf } from "../filters.js";
import { requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { metricsCacheOf } from "../metrics-cache/metrics-cache.js";
import { sendAnswer } from "../metrics-cache/send-answer.js";
import { choicesOf, dependsOnNow, notesOf, partsOf } from "../metrics-question.js";
import { type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const { interval: _, ...scalars } = metricsScalars;
const parameters = z.strictObject({
  account_id: accountIdText,
  metric: metricId,
  ...scalars,
  ...filterParameters(),
});

/** `GET /analytics/heatmap`: one metric by weekday and hour. */
export function heatmapRoutes(context: Context): Route[] {
  const cache = metricsCacheOf(context);
  return [
    route({
      method: "get",
      path: "/analytics/heatmap",
      access: ["viewer"],
      limit: "metrics",
      async handler(request, response) {
        const asked = readQuery(request, parameters);
        requireAccount(request.identity, asked.account_id);
        requireHeatmapRange(asked);
        if (!isSumOfHours(findMetric(asked.metric)!))
          throw InvalidInput.of([
            {
              path: "metric",
              code: "metric_not_available",
              message: `${asked.metric} is a state and no sum, so hours of several weeks do not add up`,
            },
          ]);
        const account = await cache.account(asked.account_id);
        const query = toMetricsQuery(
          { ...asked, metrics: [asked.metric], group_by: [], interval: "hour", filters: filtersOf(asked) },
          account,
        );
        const compute = () => computeHeatmap(context.db, query);
        await sendAnswer(context, request, response, {
          account,
          parts: `heatmap\n${partsOf(query)}`,
          dependsOnNow: dependsOnNow(query),
          compute,
        });
      },
    }),
  ];
}

async function computeHeatmap(db: Db, query: MetricsQuery) {
  const plan = planHeatmap(query);
  const { cells, total, as_of, coverage, has_queue } = await readHeatmap(db, plan);
  const metric = query.metrics[0]!;
  return {
    account_id: query.accountId,
    metric,
    unit: findMetric(metric)!.unit,
    from: query.from.toISOString(),
    to: query.to.toISOString(),
    time_zone: query.timeZone,
    ...choicesOf(query),
    as_of,
    coverage,
    notes: notesOf(query, { has_queue }),
    cells: cells.map((value, index) => ({
      weekday: Math.floor(index / 24) + 1,
      hour: index % 24,
      hours: plan.hours[index],
      value,
    })),
    totals: { value: total },
  };
}
