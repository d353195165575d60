import { z } from "zod";
import { safeText } from "../../safe-text.js";
import { intervals } from "../buckets.js";
import { metrics as allMetrics, messageDimensions, metricDimensions } from "../catalog.js";
import { MAX_FLOW_CONVERSATIONS, MAX_FLOW_DEPTH } from "../flow.js";
import { filterFields, metricId, oneOf } from "../metrics-query.js";
import { messageColumnNames } from "./message-columns.js";

export const MAX_SECTIONS = 20;
export const MAX_SECTION_METRICS = 30;
const MAX_SECTION_DIMENSIONS = 3;
const MAX_SECTION_LIMIT = 10_000;
const MAX_CHART_METRICS = 6;

/** What the request says takes its place. */
export const REQUESTED = "requested";

const unique = <T>(values: T[]): T[] => [...new Set(values)];

const id = z.string().regex(/^[a-z][a-z0-9_]{0,40}(?:\{(?:interval|dimension)\})?[a-z0-9_]{0,20}$/, {
  error:
    "must be of a-z, 0-9 and _, such as by_country; {interval} and {dimension} stand for what is asked for",
});
export const titleText = safeText(200);
const dimension = oneOf(metricDimensions, "dimension");
const named = { id, title: titleText.optional(), description: safeText(1_000).optional() };

const metrics = z
  .array(metricId)
  .min(1, { error: "names no metric" })
  .max(MAX_SECTION_METRICS, { error: `a section has at most ${MAX_SECTION_METRICS} metrics` })
  .transform(unique);
/** One field a metric. No record: that would pass over a `__proto__` without a word. */
const ownTitle = titleText.exactOptional();
const titles = z
  .strictObject(
    Object.fromEntries(allMetrics.map(({ id }) => [id, ownTitle])) as Record<string, typeof ownTitle>,
  )
  .optional();
const filters = filterFields(metricDimensions).optional();

/** A row a bucket, a value of a dimension, or both; without either one row of totals. */
const table = z.strictObject({
  kind: z.literal("table"),
  ...named,
  metrics,
  interval: oneOf([...intervals.filter((name) => name !== "all"), REQUESTED] as const, "interval").optional(),
  group_by: z
    .union([z.literal(REQUESTED), z.array(dimension).min(1).max(MAX_SECTION_DIMENSIONS).transform(unique)], {
      error: `must be "${REQUESTED}" or a list of 1 to ${MAX_SECTION_DIMENSIONS} of ${metricDimensions.join(", ")}`,
    })
    .optional(),
  filters,
  /** `of_all`: a ratio is the part that the row has in the ratio of all rows, so that the rows add up to it. */
  ratios: z.enum(["of_row", "of_all"]).default("of_row"),
  /** Whether there is a row for messages of which a dimension is not known. */
  unknown: z.enum(["show", "hide"]).default("show"),
  order: z.strictObject({ by: metricId, direction: z.enum(["asc", "desc"]).default("desc") }).optional(),
  limit: z.int().min(1).max(MAX_SECTION_LIMIT).optional(),
  titles,
  chart: z
    .union([
      z.literal("none"),
      z.strictObject({ metrics: z.array(metricId).min(1).max(MAX_CHART_METRICS).transform(unique) }),
    ])
    .optional(),
});

/** The metrics of the range beside those of the one before it, and their change. */
const comparison = z.strictObject({ kind: z.literal("comparison"), ...named, metrics, filters, titles });

/** The ways that conversations take. */
const flow = z.strictObject({
  kind: z.literal("flow"),
  ...named,
  depth: z.int().min(1).max(MAX_FLOW_DEPTH).default(6),
  min_conversations: z.int().min(1).max(MAX_FLOW_CONVERSATIONS).default(5),
});

/** One metric by weekday and hour. */
const heatmap = z.strictObject({ kind: z.literal("heatmap"), ...named, metric: metricId, filters });

/** The messages themselves, however many: the only section of its template. */
const rows = z.strictObject({
  kind: z.literal("rows"),
  ...named,
  dataset: z.literal("messages"),
  columns: z.array(oneOf(messageColumnNames, "column")).min(1).max(100).transform(unique).optional(),
  filters: filterFields(messageDimensions).optional(),
});

export const section = z.discriminatedUnion("kind", [table, comparison, flow, heatmap, rows]);
export type Section = z.output<typeof section>;
export type SectionOf<Kind extends Section["kind"]> = Section & { kind: Kind };
