import { AppError, InvalidInput } from "../../errors.js";
import type { Interval } from "../buckets.js";
import { findMetric, type MetricDimension } from "../catalog.js";
import { type DayRange, MAX_FLOW_DAYS, wholeDays } from "../flow.js";
import { type HeatmapPlan, planHeatmap, requireHeatmapRange } from "../heatmap-plan.js";
import { type MetricsPlan, planMetrics } from "../metrics-plan.js";
import { type MetricsFields, type QueriedAccount, toMetricsQuery } from "../metrics-query.js";
import type { TemplateDefinition } from "./definition.js";
import { type ExpandedSection, expandSections } from "./expand-sections.js";
import { previousRange, type Range } from "./previous-range.js";
import type { Section, SectionOf } from "./sections.js";

type Filters = MetricsFields["filters"];

/** What a request says of the numbers in a report; sections say the rest. */
export type Requested = Omit<MetricsFields, "metrics">;

interface Planned<Kind extends Section["kind"]> {
  kind: Kind;
  section: SectionOf<Kind>;
  /** The name in files; no other section has it. */
  name: string;
  title: string;
}

export interface PlannedTable extends Planned<"table"> {
  plan: MetricsPlan;
  groupBy: readonly MetricDimension[];
  interval: Interval | undefined;
}

export interface PlannedComparison extends Planned<"comparison"> {
  plan: MetricsPlan;
  /** Undefined where nothing is kept of the range before. */
  previous: { range: Range; plan: MetricsPlan } | undefined;
}

export interface PlannedFlow extends Planned<"flow"> {
  days: DayRange;
  zoneId: number;
}

export interface PlannedHeatmap extends Planned<"heatmap"> {
  plan: HeatmapPlan;
}

export type PlannedSection = PlannedTable | PlannedComparison | PlannedFlow | PlannedHeatmap;

/** A section that a report cannot have, and why. */
export interface LeftOutSection {
  section: string;
  code: string;
  message: string;
}

export interface ReportPlan {
  sections: PlannedSection[];
  leftOut: LeftOutSection[];
}

/**
 * What a report of this template has to read. A section that cannot be told for this range or through these filters, as
 * contacts cannot for half a day or flows for one channel, is left out and said to be; where none is left, and where
 * a request asks for what its metrics do not have, it throws `InvalidInput`.
 */
export function planSections(
  template: Pick<TemplateDefinition, "sections">,
  requested: Requested,
  account: QueriedAccount,
): ReportPlan {
  const plan: ReportPlan = { sections: [], leftOut: [] };
  for (const one of expandSections(template.sections, requested)) {
    try {
      plan.sections.push(planned(one, requested, account));
    } catch (error) {
      if (!isLeftOut(error)) throw error;
      plan.leftOut.push({ section: one.name, code: codeOf(error), message: error.message });
    }
  }
  const [first] = plan.leftOut;
  if (plan.sections.length === 0)
    throw new InvalidInput(
      "no_section_left",
      first
        ? `No section can be told: ${first.section}: ${first.message}`
        : "No section is asked for: group_by is empty.",
    );
  return plan;
}

function planned(one: ExpandedSection, requested: Requested, account: QueriedAccount): PlannedSection {
  const { section, name, title } = one;
  switch (section.kind) {
    case "table": {
      const plan = planOf(section.metrics, section.filters, requested, account, one);
      return { kind: "table", section, name, title, plan, groupBy: one.groupBy, interval: one.interval };
    }
    case "comparison": {
      const plan = planOf(section.metrics, section.filters, requested, account);
      return {
        kind: "comparison",
        section,
        name,
        title,
        plan,
        previous: planPrevious(section, requested, plan, account),
      };
    }
    case "flow":
      return { kind: "flow", section, name, title, ...planFlow(requested, account) };
    case "heatmap": {
      requireHeatmapRange(requested);
      const { query } = planOf([section.metric], section.filters, requested, account);
      return { kind: "heatmap", section, name, title, plan: planHeatmap(query) };
    }
    case "rows":
      throw new RangeError("rows are no section of numbers");
  }
}

function planOf(
  metrics: readonly string[],
  own: Filters | undefined,
  requested: Requested,
  account: QueriedAccount,
  { interval, groupBy }: { interval?: Interval | undefined; groupBy: readonly MetricDimension[] } = {
    groupBy: [],
  },
): MetricsPlan {
  requireFilters(metrics, requested.filters);
  return planMetrics(
    toMetricsQuery(
      {
        ...requested,
        metrics: [...metrics],
        interval: interval ?? "all",
        group_by: [...groupBy],
        filters: bothFilters(requested.filters, own ?? {}),
      },
      account,
    ),
  );
}

/** What passes one filter and the other. */
export function bothFilters(asked: Filters, own: Filters): Filters {
  const both = { ...own, ...asked };
  for (const name of Object.keys(own) as MetricDimension[])
    if (asked[name]) both[name] = own[name]!.filter((value) => asked[name]!.includes(value));
  return both;
}

/** A filter of the request that a metric knows nothing of. */
function requireFilters(metrics: readonly string[], filters: Filters): void {
  for (const name of Object.keys(filters) as MetricDimension[]) {
    const deaf = metrics.find((id) => !findMetric(id)!.dimensions.includes(name));
    if (deaf) throw notFiltered(`${deaf} cannot be filtered by ${name}.`);
  }
}

const notFiltered = (message: string) => new InvalidInput("section_not_filtered", message);

function planPrevious(
  section: SectionOf<"comparison">,
  requested: Requested,
  { query }: MetricsPlan,
  account: QueriedAccount,
): PlannedComparison["previous"] {
  const range = previousRange(requested, query.timeZone);
  try {
    return (
      range && { range, plan: planOf(section.metrics, section.filters, { ...requested, ...range }, account) }
    );
  } catch (error) {
    // What lies before may be gone, or before the first year that can be asked for; the range itself was planned.
    if (error instanceof InvalidInput) return undefined;
    throw error;
  }
}

function planFlow(requested: Requested, account: QueriedAccount): Pick<PlannedFlow, "days" | "zoneId"> {
  const [filter] = Object.keys(requested.filters);
  if (filter) throw notFiltered(`Flows cannot be filtered by ${filter}.`);
  const days = wholeDays(requested.from, requested.to, account.timeZone, MAX_FLOW_DAYS);
  const { zoneId } = account.kept.days ?? {};
  if (zoneId === undefined)
    throw new InvalidInput(
      "section_not_built",
      "The days of the account's new time zone are still being counted.",
    );
  return { days, zoneId };
}

/** What keeps a section out of a report, and is no mistake of the request as a whole. */
const leavingOut: ReadonlySet<string> = new Set([
  "section_not_filtered",
  "section_not_built",
  "interval_not_available",
  "not_on_period",
  "not_a_local_day",
  "range_too_long",
  "contacts_not_built",
]);

const codeOf = (error: AppError): string => error.issues?.[0]?.code ?? error.code;

const isLeftOut = (error: unknown): error is AppError =>
  error instanceof AppError && (error.issues ?? [error]).every(({ code }) => leavingOut.has(code));
