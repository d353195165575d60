import { z } from "zod";
import { safeText } from "../../safe-text.js";
import { findMetric, type Metric, type MetricDimension, type Unit, units } from "../catalog.js";
import { isSumOfHours } from "../heatmap-plan.js";
import { MAX_SECTIONS, REQUESTED, type Section, type SectionOf, section, titleText } from "./sections.js";

/** Of a custom template; built-in ones have names of the same form. */
export const templateName = z.string().regex(/^[a-z0-9-]{1,64}$/, {
  error: "must be 1 to 64 characters of a-z, 0-9 and -",
});

export const localeName = z
  .string()
  .max(35)
  .refine(isLocale, { error: "must be a language tag that is known here, such as en, de-DE or pt-BR" });

function isLocale(name: string): boolean {
  try {
    return Intl.NumberFormat.supportedLocalesOf([name]).length === 1;
  } catch {
    return false;
  }
}

/** How the values of one unit are shown to people. */
const numberFormat = z.strictObject({
  decimals: z.int().min(0).max(6).optional(),
  grouping: z.boolean().optional(),
});
const ownFormat = numberFormat.exactOptional();

export const definitionFields = {
  title: titleText,
  description: safeText(1_000).optional(),
  sections: z
    .array(section)
    .min(1, { error: "names no section" })
    .max(MAX_SECTIONS, { error: `a template has at most ${MAX_SECTIONS} sections` }),
  /** In which numbers, times and weekdays are shown to people; files for programs are the same in all. */
  locale: localeName.default("en"),
  number_formats: z
    .strictObject(
      Object.fromEntries(units.map((unit) => [unit, ownFormat])) as Record<Unit, typeof ownFormat>,
    )
    .default({}),
  /** `plain`: a workbook as a program reads it, headers as metric ids in the first row; `styled`: as people do. */
  workbook: z.enum(["plain", "styled"]).default("styled"),
};

type Definition = z.output<z.ZodObject<typeof definitionFields>>;

/** Everything about a template that can be known without a request: each mistake by the path of its field. */
export function checkDefinition({ sections }: Pick<Definition, "sections">, context: z.RefinementCtx): void {
  const ids = new Set<string>();
  for (const [index, one] of sections.entries()) {
    const say: Say = (path, code, message) =>
      context.addIssue({ code: "custom", path: ["sections", index, ...path], message, params: { code } });
    if (ids.has(one.id)) say(["id"], "duplicate_section", "is the id of another section too");
    ids.add(one.id);
    checkPlaceholders(one, say);
    if (one.kind === "rows" && sections.length > 1)
      say(["kind"], "rows_not_alone", "rows are a file of their own: the only section of a template");
    if (one.kind === "table") checkTable(one, say);
    if (one.kind === "comparison") checkUse(one, [], say);
    if (one.kind === "heatmap") checkHeatmapSection(one, say);
  }
}

type Say = (path: PropertyKey[], code: string, message: string) => void;

/** An id or a title may name what is asked for only where something is. */
function checkPlaceholders(one: Section, say: Say): void {
  const known = one.kind === "table" ? { interval: one.interval, dimension: one.group_by } : {};
  for (const field of ["id", "title"] as const)
    for (const [, name] of one[field]?.matchAll(/\{(interval|dimension)\}/g) ?? [])
      if (known[name as keyof typeof known] !== REQUESTED)
        say([field], "nothing_requested", `{${name}} is only for sections with what is ${REQUESTED}`);
}

function checkTable(table: SectionOf<"table">, say: Say): void {
  const dimensions = Array.isArray(table.group_by) ? table.group_by : [];
  checkUse(table, dimensions, say);
  const isGrouped = table.group_by !== undefined;
  const isRanking = isGrouped && table.interval === undefined;
  if (table.ratios === "of_all" && !isRanking)
    say(["ratios"], "needs_groups", "of_all is for sections with group_by and no interval");
  if (table.unknown === "hide" && !isGrouped)
    say(["unknown"], "needs_groups", "hide is for sections with group_by");
  if (table.order && !isRanking)
    say(["order"], "needs_groups", "is for sections with group_by and no interval");
  if (table.order && !table.metrics.includes(table.order.by))
    say(["order", "by"], "not_in_section", "is no metric of this section");
  if (table.limit !== undefined && !table.order)
    say(["limit"], "needs_order", "needs an order, which says what comes first");
  if (typeof table.chart === "object")
    for (const [place, id] of table.chart.metrics.entries())
      if (!table.metrics.includes(id))
        say(["chart", "metrics", place], "not_in_section", "is no metric of this section");
}

/** The metrics of a section can be told apart by its dimensions and filters, and its titles are of its metrics. */
function checkUse(
  { metrics, filters = {}, titles = {} }: Pick<SectionOf<"table">, "metrics" | "filters" | "titles">,
  dimensions: readonly MetricDimension[],
  say: Say,
): void {
  for (const [place, id] of metrics.entries()) {
    const metric = findMetric(id)!;
    const used = [...dimensions, ...(Object.keys(filters) as MetricDimension[])];
    for (const name of used)
      if (!metric.dimensions.includes(name)) say(["metrics", place], ...cannot(metric, name));
  }
  for (const id of Object.keys(titles))
    if (!metrics.includes(id)) say(["titles", id], "not_in_section", "is no metric of this section");
}

const cannot = ({ id, dimensions }: Metric, name: MetricDimension): [code: string, message: string] => [
  "dimension_not_available",
  `${id} cannot be told apart by ${name}; its dimensions are ${dimensions.join(", ") || "none"}`,
];

function checkHeatmapSection({ metric, filters = {} }: SectionOf<"heatmap">, say: Say): void {
  const found = findMetric(metric)!;
  if (!isSumOfHours(found) || found.rollup === "contacts")
    say(["metric"], "metric_not_available", `hours of several weeks do not add up for ${metric}`);
  for (const name of Object.keys(filters) as MetricDimension[])
    if (!found.dimensions.includes(name)) say(["metric"], ...cannot(found, name));
}

/** A template without its name: what is kept as a version of it. */
export const templateDefinition = z.strictObject(definitionFields).superRefine(checkDefinition);
export type TemplateDefinition = z.output<typeof templateDefinition>;

/** A template as a report is built of it. */
export interface ReportTemplate extends TemplateDefinition {
  name: string;
  /** Undefined for a built-in one: it is the service's own. */
  version: number | undefined;
}

/** The section of a template that is a list of messages; undefined where it is made of numbers. */
export function rowsSection({ sections }: TemplateDefinition): SectionOf<"rows"> | undefined {
  const [first] = sections;
  return first?.kind === "rows" ? first : undefined;
}
