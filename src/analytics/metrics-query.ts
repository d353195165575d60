import { z } from "zod";
import { InvalidInput } from "../errors.js";
import { storable } from "../safe-text.js";
import { bucketStarts, type Interval, intervals, isTimeZone, QUARTER_MS } from "./buckets.js";
import { type Choices, clockChoices, hourChoices, responderChoices } from "./catalog/metric.js";
import {
  bases,
  defaultMetricIds,
  findMetric,
  type MetricDimension,
  metricDimensions,
  similarMetricIds,
} from "./catalog.js";
import type { KeptGrains } from "./segments.js";

/** Zones have offsets in whole quarters of an hour since 2000, and no tables of their rules after 2100. */
const EARLIEST_MS = Date.UTC(2000, 0, 1);
const LATEST_MS = Date.UTC(2100, 0, 1);

const MAX_FILTER_VALUES = 1_000;
const MAX_VALUE_LENGTH = 512;
const MAX_METRICS = 100;

export interface MetricsQuery extends Choices {
  accountId: string;
  /** Ids of the catalogue. */
  metrics: readonly string[];
  from: Date;
  /** Exclusive. */
  to: Date;
  interval: Interval;
  groupBy: readonly MetricDimension[];
  timeZone: string;
  /** Whether rates count messages to groups, which reach several people. */
  groups: "include" | "exclude";
  kept: KeptGrains;
  /** Values that a dimension may have; null is the unknown value. */
  filters: { readonly [Name in MetricDimension]?: readonly (string | null)[] };
}

const unique = <T>(values: T[]): T[] => [...new Set(values)];

export const oneOf = <const T extends readonly string[]>(values: T, code: string) =>
  z.enum(values, {
    error: (issue) => `unknown ${code} ${JSON.stringify(issue.input)}; one of ${values.join(", ")}`,
  });

/** One metric of the catalogue. */
export const metricId = z.string().superRefine((id, context) => {
  if (findMetric(id)) return;
  const near = similarMetricIds(id);
  const hint = near.length > 0 ? `; did you mean ${near.join(" or ")}?` : ";";
  context.addIssue({
    code: "custom",
    message: `unknown metric ${JSON.stringify(id.slice(0, 100))}${hint} GET /analytics/metrics/catalog lists all`,
    params: { code: "unknown_metric" },
  });
});

const instant = z.iso
  .datetime({ offset: true, error: "must be an RFC 3339 time, like 2025-01-31T00:00:00Z" })
  .transform((text) => new Date(text))
  .superRefine((time, context) => {
    const issue = (code: string, message: string) =>
      context.addIssue({ code: "custom", message, params: { code } });
    if (!(time.getTime() >= EARLIEST_MS && time.getTime() <= LATEST_MS))
      issue("time_out_of_range", "must lie from 2000-01-01 to 2100-01-01");
    else if (time.getTime() % QUARTER_MS !== 0)
      issue("not_on_15_minutes", "must be a whole quarter of an hour, like 10:15:00");
  });

const filterValue = storable(z.string().max(MAX_VALUE_LENGTH)).nullable();

/** Values of one filter. Empty text means the unknown value, as null does: no dimension has empty values. */
export const filterValues = z
  .array(filterValue)
  .min(1)
  .max(MAX_FILTER_VALUES)
  .transform((values) => unique(values.map((value) => value || null)));

const filter = filterValues.exactOptional();
/** One field a dimension. No record: that would pass over a `__proto__` without a word. */
export const filterFields = <Name extends string>(names: readonly Name[]) =>
  z.strictObject(Object.fromEntries(names.map((name) => [name, filter])) as Record<Name, typeof filter>);

/** Lists of the query, for callers that write them otherwise than JSON does. */
export const metricsLists = {
  metrics: z.array(metricId).min(1, { error: "names no metric" }).max(MAX_METRICS).transform(unique),
  group_by: z.array(oneOf(metricDimensions, "dimension")).max(MAX_METRICS).transform(unique),
};

/** Single values of the query. */
export const metricsScalars = {
  from: instant,
  to: instant,
  interval: oneOf(intervals, "interval").default("day"),
  basis: oneOf(bases, "basis").default("cohort"),
  groups: oneOf(["exclude", "include"], "groups").default("exclude"),
  responders: oneOf(responderChoices, "responders").default("human"),
  clock: oneOf(clockChoices, "clock").default("first"),
  hours: oneOf(hourChoices, "hours").default("elapsed"),
  time_zone: z
    .string()
    .max(64)
    .refine(isTimeZone, {
      error: (issue) => `unknown time zone ${JSON.stringify(issue.input)}; must be an IANA time zone`,
      params: { code: "unknown_time_zone" },
    })
    .optional(),
};

/** The query as JSON has it, for what asks for metrics in a body (`filters: {template: ["a", null]}`). */
export const metricsFields = {
  ...metricsScalars,
  metrics: metricsLists.metrics.optional(),
  group_by: metricsLists.group_by.default([]),
  filters: filterFields(metricDimensions).default({}),
};

const parsedFields = z.object(metricsFields);
export type MetricsFields = z.output<typeof parsedFields>;

export interface QueriedAccount {
  accountId: string;
  timeZone: string;
  /** Without business hours, all time is open. */
  isAlwaysOpen: boolean;
  kept: KeptGrains;
}

/**
 * The query that these fields ask for; the account gives what they leave out. Throws `InvalidInput` for a range that is
 * empty or has too many buckets, and for dimensions that a metric does not have.
 */
export function toMetricsQuery(fields: MetricsFields, account: QueriedAccount): MetricsQuery {
  const { from, to, interval } = fields;
  if (from >= to)
    throw InvalidInput.of([{ path: "to", code: "empty_range", message: "must be later than from" }]);
  const timeZone = fields.time_zone ?? account.timeZone;
  bucketStarts(from.getTime(), to.getTime(), interval, timeZone);
  requireDimensions(fields);
  return {
    accountId: account.accountId,
    metrics: fields.metrics ?? defaultMetricIds,
    from,
    to,
    interval,
    groupBy: fields.group_by,
    timeZone,
    basis: fields.basis,
    groups: fields.groups,
    responders: fields.responders,
    clock: fields.clock,
    hours: account.isAlwaysOpen ? "elapsed" : fields.hours,
    kept: account.kept,
    filters: fields.filters,
  };
}

/** What a metric cannot tell apart is refused: a filter that it ignores would change nothing and say nothing. */
function requireDimensions({ metrics, group_by, filters }: MetricsFields): void {
  const used = [
    ...group_by.map((name) => ({ name, path: "group_by" })),
    ...Object.keys(filters).map((name) => ({ name: name as MetricDimension, path: `filter[${name}]` })),
  ];
  const issues = (metrics ?? defaultMetricIds).flatMap((id) => {
    const { dimensions } = findMetric(id)!;
    return used
      .filter(({ name }) => !dimensions.includes(name))
      .map(({ name, path }) => ({
        path,
        code: "dimension_not_available",
        message: `${id} cannot be told apart by ${name}; its dimensions are ${dimensions.join(", ") || "none"}`,
      }));
  });
  if (issues.length > 0) throw InvalidInput.of(issues);
}
