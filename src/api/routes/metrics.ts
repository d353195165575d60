import { z } from "zod";
import { type Metric, metrics } from "../../analytics/catalog.js";
import { planMetrics } from "../../analytics/metrics-plan.js";
import {
  type MetricsQuery,
  metricsLists,
  metricsScalars,
  toMetricsQuery,
} from "../../analytics/metrics-query.js";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { readMetrics } from "../../db/queries/read-metrics.js";
import { filterParameters, filtersOf } from "../filters.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const list = (text: string) => (text === "" ? [] : text.split(","));

const metricsQuery = z.strictObject({
  account_id: accountIdText,
  ...metricsScalars,
  metrics: z.string().transform(list).pipe(metricsLists.metrics).optional(),
  group_by: z.string().default("").transform(list).pipe(metricsLists.group_by),
  ...filterParameters(),
});

export function metricsRoutes(context: Context): Route[] {
  const { db } = context;
  return [
    route({
      method: "get",
      path: "/analytics/metrics",
      access: ["viewer"],
      limit: "metrics",
      async handler(request, response) {
        const parameters = readQuery(request, metricsQuery);
        requireAccount(request.identity, parameters.account_id);
        const account = await findAccount(db, parameters.account_id);
        if (!account) throw accountNotFound();
        const query = toMetricsQuery(
          { ...parameters, filters: filtersOf(parameters) },
          { accountId: account.account_id, timeZone: account.time_zone },
        );
        const result = await readMetrics(db, planMetrics(query));
        response.json({
          ...presentQuery(query),
          as_of: result.as_of,
          rows: result.rows,
          totals: result.totals,
        });
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

const presentQuery = (query: MetricsQuery) => ({
  account_id: query.accountId,
  from: query.from.toISOString(),
  to: query.to.toISOString(),
  interval: query.interval,
  time_zone: query.timeZone,
  basis: query.basis,
});

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
