import type { Request } from "express";
import { z } from "zod";
import { findMetric } from "../analytics/catalog.js";
import { planMetrics } from "../analytics/metrics-plan.js";
import {
  type MetricsQuery,
  metricsLists,
  metricsScalars,
  toMetricsQuery,
} from "../analytics/metrics-query.js";
import type { Db } from "../db/client.js";
import type { FoldVersion } from "../db/queries/fold-versions.js";
import { type MetricsResult, readMetrics } from "../db/queries/read-metrics.js";
import { filterParameters, filtersOf } from "./filters.js";
import { readQuery } from "./input.js";
import type { Question } from "./metrics-cache/metrics-cache.js";
import { accountIdText } from "./routes/accounts.js";

const list = (text: string) => (text === "" ? [] : text.split(","));

/** The parameters of `GET /analytics/metrics`. */
export const metricsParameters = z.strictObject({
  account_id: accountIdText,
  ...metricsScalars,
  metrics: z.string().transform(list).pipe(metricsLists.metrics).optional(),
  group_by: z.string().default("").transform(list).pipe(metricsLists.group_by),
  ...filterParameters(),
});

/** A query that was read, with what it means for the account's zone. */
export interface AskedMetrics {
  accountId: string;
  /** What to ask of the account as it is now. Throws `InvalidInput`. `rows`: whether the answer has them. */
  of(account: FoldVersion, options?: { rows?: boolean }): Question;
}

export function askMetrics(db: Db, parameters: z.output<typeof metricsParameters>): AskedMetrics {
  let last: { kept: string; query: MetricsQuery; parts: string } | undefined;
  return {
    accountId: parameters.account_id,
    of(account, { rows = true } = {}) {
      const kept = keptOf(account);
      if (last?.kept !== kept) {
        const query = toMetricsQuery({ ...parameters, filters: filtersOf(parameters) }, account);
        last = { kept, query, parts: partsOf(query) };
      }
      const { query, parts } = last;
      return {
        account,
        dependsOnNow: dependsOnNow(query),
        parts: `${rows ? "metrics" : "metrics totals"}\n${parts}`,
        compute: () => computeMetrics(db, query, rows),
      };
    },
  };
}

/** Of a range that goes on, what is divided by the time that has passed. */
export function dependsOnNow({ metrics, to }: MetricsQuery): boolean {
  const goesOn = to.getTime() > Date.now();
  return metrics.some((id) => {
    const kind = findMetric(id)?.measure.kind;
    return kind === "age" || (goesOn && (kind === "pace" || kind === "drain"));
  });
}

/** What a query means depends on these of the account, so they are compared instead of planning it anew. */
const keptOf = ({ timeZone, kept, isAlwaysOpen }: FoldVersion) =>
  `${timeZone} ${kept.days?.zoneId} ${kept.quartersFrom} ${kept.daysFrom} ${isAlwaysOpen}`;

/** A query string longer than this is read each time, and so many are remembered. */
const MAX_TEXT_LENGTH = 2_000;
const MAX_TEXTS = 2_000;

/** `read`, remembered by the text of the query: dashboards ask the same again and again. */
export function rememberQueries<T>(read: (request: Request) => T): (request: Request) => T {
  const known = new Map<string, T>();
  return (request) => {
    const text = request.originalUrl.slice(request.originalUrl.indexOf("?") + 1);
    const found = known.get(text);
    if (found !== undefined) {
      known.delete(text);
      known.set(text, found);
      return found;
    }
    const asked = read(request);
    if (text.length <= MAX_TEXT_LENGTH) known.set(text, asked);
    if (known.size > MAX_TEXTS) known.delete(known.keys().next().value!);
    return asked;
  };
}

export const readMetricsQuestion = (db: Db): ((request: Request) => AskedMetrics) =>
  rememberQueries((request) => askMetrics(db, readQuery(request, metricsParameters)));

/** The order of metrics and of dimensions shows in the answer, that of filters and of their values does not. */
export function partsOf(query: MetricsQuery): string {
  const filters = Object.entries(query.filters)
    .map(([name, values]) => [name, [...values].sort(nullsFirst)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([
    query.from.getTime(),
    query.to.getTime(),
    query.interval,
    query.timeZone,
    [query.basis, query.groups, query.responders, query.clock, query.hours],
    query.metrics,
    query.groupBy,
    filters,
  ]);
}

const nullsFirst = (a: string | null, b: string | null): number => {
  if (a === null || b === null) return Number(b === null) - Number(a === null);
  return a < b ? -1 : Number(a > b);
};

async function computeMetrics(db: Db, query: MetricsQuery, withRows: boolean) {
  const result = await readMetrics(db, planMetrics(query));
  return {
    account_id: query.accountId,
    from: query.from.toISOString(),
    to: query.to.toISOString(),
    interval: query.interval,
    time_zone: query.timeZone,
    ...choicesOf(query),
    as_of: result.as_of,
    coverage: result.coverage,
    notes: notesOf(query, result),
    ...(withRows ? { rows: result.rows } : {}),
    totals: result.totals,
  };
}

/** What was chosen, or is where nothing was. */
export const choicesOf = ({ basis, groups, responders, clock, hours }: MetricsQuery) => ({
  basis,
  groups,
  responders,
  clock,
  hours,
});

/** Why a metric is null throughout. */
export const notesOf = (query: MetricsQuery, { has_queue }: Pick<MetricsResult, "has_queue">) =>
  query.metrics
    .filter((id) => findMetric(id)?.needsQueue && !has_queue)
    .map((metric) => ({
      metric,
      code: "not_measured",
      message:
        "Nothing that was asked for is known to have been queued (message.queued) before the end of the range.",
    }));
