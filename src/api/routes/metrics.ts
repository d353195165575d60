import { z } from "zod";
import { type Metric, metricDimensions, metrics } from "../../analytics/catalog.js";
import { planMetrics } from "../../analytics/metrics-plan.js";
import {
  filterValues,
  type MetricsFields,
  type MetricsQuery,
  metricsLists,
  metricsScalars,
  toMetricsQuery,
} from "../../analytics/metrics-query.js";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { readMetrics } from "../../db/queries/read-metrics.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const list = (text: string) => (text === "" ? [] : text.split(","));

/** Values may hold commas, written `\,` (and a backslash `\\`). Empty text is one empty value. */
const escapedList = (text: string): (string | null)[] =>
  Array.from(`${text},`.matchAll(/((?:\\.|[^,\\])*\\?),/gs), ([, value]) => value!.replace(/\\(.)/gs, "$1"));

const metricsQuery = z.strictObject({
  account_id: accountIdText,
  ...metricsScalars,
  metrics: z.string().transform(list).pipe(metricsLists.metrics).optional(),
  group_by: z.string().default("").transform(list).pipe(metricsLists.group_by),
  ...filterParameters(),
});

/** `filter[template]=a,b` and so on, one parameter a dimension. */
function filterParameters() {
  const values = z.string().transform(escapedList).pipe(filterValues).optional();
  return Object.fromEntries(metricDimensions.map((name) => [`filter[${name}]`, values]));
}

export function metricsRoutes(context: Context): Route[] {
  const { db } = context;
  return [
    route({
      method: "get",
      path: "/analytics/metrics",
      access: ["viewer"],
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

function filtersOf(parameters: Readonly<Record<string, unknown>>): MetricsFields["filters"] {
  return Object.fromEntries(
    metricDimensions.flatMap((name) => {
      const values = parameters[`filter[${name}]`];
      return values === undefined ? [] : [[name, values]];
    }),
  );
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
