import { bucketStarts } from "./buckets.js";
import { type Choices, columnOf, type Measure, type Terms } from "./catalog/metric.js";
import { findMetric, type Metric, type RollupName } from "./catalog.js";
import { type ContactsPlan, planContacts } from "./contacts-plan.js";
import type { MetricsQuery } from "./metrics-query.js";
import { binSeconds } from "./percentiles.js";
import { localDate, type Segment, segmentsBefore, segmentsOf } from "./segments.js";

/** What to look up in the merged bins of one duration. */
export interface DurationPlan {
  /** The sum column that names the duration and its basis. */
  column: string;
  percents: readonly number[];
}

/** What one kind of rollups has to give. */
export interface RollupPlan {
  rollup: Exclude<RollupName, "contacts">;
  /** Additive columns to sum. */
  columns: readonly string[];
  /** Those of them that only totals need: coverage is told of the whole range. */
  ofTotals: readonly string[];
  durations: readonly DurationPlan[];
  /** A group exists where one of these is above 0. */
  presence: readonly string[];
  /** Columns that are also counted since the beginning: `upto_<column>`. */
  levels: readonly string[];
  /** Whether chats that wait to be read are missing in it. */
  needsChats: boolean;
}

/**
 * What has been added up for one group: sums by column, `upto_<column>` for levels; per duration, null where nothing was
 * measured, `<column>_n` (how many), `<column>_p<percent>` (the bin of that nearest rank) and `<column>_max` (the
 * outermost bin).
 */
export type MetricsGroup = Readonly<Record<string, number | null | undefined>>;

/** A query in terms of rollup columns, and how metrics come out of what is read. */
export interface MetricsPlan {
  query: MetricsQuery;
  /** UTC, in ms, ascending; the first is not after `from`. */
  bucketStarts: readonly number[];
  /** The local dates of the same, where days are read. */
  bucketDates: readonly string[];
  /** Which group each bucket is counted in, from 1 on, where that is not one of its own. As many as `bucketStarts`. */
  cells?: readonly number[];
  segments: readonly Segment[];
  /** Everything before `from`; empty where nothing is counted since the beginning. */
  before: readonly Segment[];
  rollups: readonly RollupPlan[];
  /** Where to look for different contacts; undefined when they are not asked for. */
  contacts: ContactsPlan | undefined;
  /** Whether the age of the oldest message in the queue is asked for. */
  asksAge: boolean;
  /** The metrics of a group, in the order of the query; `spanMs` is how much of its bucket or range has passed. */
  measure(group: MetricsGroup, spanMs: number): Record<string, number | null>;
  /** Both sides of a ratio, by which the ratios of several groups can be put together. */
  sides(id: string, group: MetricsGroup): { part: number; whole: number };
  /** The share of messages that WhatsApp timed and of sent ones with any receipt, from the group of everything. */
  coverage(group: MetricsGroup): { provider_time: number | null; receipts: number | null };
}

const coverageIds = { provider_time: "provider_time_share", receipts: "receipt_share" } as const;

/** Compiles a query. Throws what `bucketStarts`, `segmentsOf` and `planContacts` throw, and `RangeError` for a metric that does not exist. */
export function planMetrics(query: MetricsQuery): MetricsPlan {
  const { kept, interval, timeZone } = query;
  const [from, to] = [query.from.getTime(), query.to.getTime()];
  const metrics = query.metrics.map(existing);
  const starts = bucketStarts(from, to, interval, timeZone);
  const byDay =
    interval === "all" || (kept.days?.timeZone === timeZone && ["day", "week", "month"].includes(interval));
  const segments = segmentsOf(from, to, kept, byDay);
  const hasDays = segments.some((segment) => segment.grain === "days");
  const rollups = planRollups(query, metrics);
  const dayZone = kept.days?.timeZone ?? timeZone;
  return {
    query,
    bucketStarts: starts,
    bucketDates: hasDays ? starts.map((start) => localDate(start, dayZone)) : [],
    segments,
    before: rollups.some(({ levels }) => levels.length > 0) ? segmentsBefore(from, kept) : [],
    rollups,
    contacts: metrics.some(({ rollup }) => rollup === "contacts") ? planContacts(query, starts) : undefined,
    asksAge: metrics.some(({ measure }) => measure.kind === "age"),
    measure: measureOf(metrics, query),
    sides: (id, group) => sidesOf(existing(id), query)(group),
    coverage: (group) => ({
      provider_time: metricValue(existing(coverageIds.provider_time), query)(group, 0),
      receipts: metricValue(existing(coverageIds.receipts), query)(group, 0),
    }),
  };
}

function existing(id: string): Metric {
  const metric = findMetric(id);
  if (!metric) throw new RangeError(`There is no metric ${id}.`);
  return metric;
}

/** Coverage is shown with every answer about messages, so its columns are read with them. */
function planRollups(query: MetricsQuery, metrics: readonly Metric[]): RollupPlan[] {
  const isAboutMessages = metrics.some(({ rollup }) => rollup !== "conversations");
  const asked = [
    ...new Set([...metrics, ...(isAboutMessages ? Object.values(coverageIds).map(existing) : [])]),
  ];
  // Contacts do not add up, so they have a plan of their own.
  const names = [...new Set(asked.map(({ rollup }) => rollup))].filter((name) => name !== "contacts");
  return names.map((rollup) => {
    const own = asked.filter((metric) => metric.rollup === rollup);
    const ofQueue = own.filter(({ needsQueue }) => needsQueue);
    const levels = ofQueue.length > 0 ? ["queued", "dequeued"] : [];
    const waits = durationsOf(query, ofQueue).map(({ column }) => column);
    const columns = [...new Set([...own.flatMap((metric) => columnsOf(metric, query)), ...levels])];
    const ofRows = new Set([...columnsOfAsked(query, metrics, rollup), ...levels]);
    return {
      rollup,
      columns,
      ofTotals: columns.filter((name) => !ofRows.has(name)),
      durations: durationsOf(query, own),
      // A movement that is left out would be missing in the levels after it.
      presence: [
        ...new Set([
          ...presenceColumns(query, rollup),
          ...columnsOfAsked(query, metrics, rollup),
          ...levels,
          ...waits,
        ]),
      ],
      levels,
      needsChats: rollup === "conversations" || own.some(({ needsChats }) => needsChats),
    };
  });
}

const columnsOfAsked = (query: MetricsQuery, metrics: readonly Metric[], rollup: RollupName) =>
  metrics.filter((metric) => metric.rollup === rollup).flatMap((metric) => columnsOf(metric, query));

function durationsOf(query: MetricsQuery, metrics: readonly Metric[]): DurationPlan[] {
  const percentsOf = new Map<string, Set<number>>();
  for (const { measure } of metrics) {
    if (measure.kind !== "duration") continue;
    const column = columnOf(measure.duration, query);
    const percents = percentsOf.get(column) ?? new Set();
    if (typeof measure.statistic === "object") percents.add(measure.statistic.percent);
    percentsOf.set(column, percents);
  }
  return [...percentsOf].map(([column, percents]) => ({ column, percents: [...percents] }));
}

type Asked = Choices & Pick<MetricsQuery, "groups">;

/** Additive columns that a metric is computed from. */
export function columnsOf({ measure }: Metric, query: Asked): string[] {
  const columns = (counts: readonly string[]) => counts.map((count) => columnOf(count, query));
  switch (measure.kind) {
    case "counter":
    case "pace":
      return columns([measure.count]);
    case "ratio":
      return [measure.part, measure.whole].flatMap((side) => {
        const { plus, minus } = termsOf(measure, side, query);
        return columns([...plus, ...minus]);
      });
    case "level":
    case "drain":
      return columns([measure.came, measure.went]);
    case "duration":
      return measure.statistic === "mean" ? [columnOf(measure.duration, query)] : [];
    case "distinct":
    case "age":
      return [];
  }
}

/** Where groups stay out, what they counted is taken off again. */
function termsOf(
  { withoutGroups }: Measure & { kind: "ratio" },
  { plus, minus = [] }: Terms,
  { groups }: Asked,
): Required<Terms> {
  const isOut = withoutGroups && groups === "exclude";
  return { plus, minus: isOut ? [...minus, ...plus.map(ofGroups)] : minus };
}

const ofGroups = (count: string) =>
  count.startsWith("{basis}_") ? count.replace("{basis}_", "{basis}_group_") : `group_${count}`;

/** Columns of which at least one is above 0 wherever something contributes in this basis. */
const presenceColumns = (query: MetricsQuery, rollup: RollupPlan["rollup"]): string[] => {
  const stages = query.basis === "cohort" ? [] : ["sent", "delivered", "read", "played", "failed"];
  // Nobody is the agent of a conversation, so where agents are told apart only their turns are something.
  const whole = query.groupBy.includes("agent_id") ? [] : ["conversations"];
  const counts: Record<RollupPlan["rollup"], readonly string[]> = {
    messages: ["attempted", ...[...stages, "received"].map((stage) => `{basis}_${stage}`)],
    conversations: [...whole, "{basis}_{responders}_turns", "{basis}_{responders}_turns_answered"],
  };
  return counts[rollup].map((count) => columnOf(count, query));
};

/** Which columns the metrics are made of is settled once for a query, not for each of its thousands of groups. */
function measureOf(metrics: readonly Metric[], query: Asked): MetricsPlan["measure"] {
  const values = metrics.map((metric) => [metric.id, metricValue(metric, query)] as const);
  return (group, spanMs) => {
    const measured: Record<string, number | null> = {};
    for (const [id, value] of values) measured[id] = value(group, spanMs);
    return measured;
  };
}

type Value = (group: MetricsGroup, spanMs: number) => number | null;

function metricValue(metric: Metric, query: Asked): Value {
  const value = knownValue(metric, query);
  return metric.needsQueue ? (group, spanMs) => (group.upto_queued ? value(group, spanMs) : null) : value;
}

function knownValue(metric: Metric, query: Asked): Value {
  const { measure } = metric;
  const column = (name: string) => columnOf(name, query);
  const level = (of: { came: string; went: string }) => {
    const [came, went] = [`upto_${of.came}`, `upto_${of.went}`];
    return (group: MetricsGroup) => (group[came] ?? 0) - (group[went] ?? 0);
  };
  switch (measure.kind) {
    case "counter": {
      const count = column(measure.count);
      return (group) => group[count] ?? 0;
    }
    case "ratio": {
      const sides = sidesOf(metric, query);
      return (group) => {
        const { part, whole } = sides(group);
        return whole === 0 ? null : part / whole;
      };
    }
    case "duration": {
      const { statistic } = measure;
      const duration = column(measure.duration);
      return (group) => durationValue(duration, statistic, group);
    }
    case "level":
      return level(measure);
    case "pace": {
      const count = column(measure.count);
      return (group, spanMs) => (spanMs > 0 ? (group[count] ?? 0) / (spanMs / 60_000) : null);
    }
    case "drain": {
      const went = column(measure.went);
      const waiting = level(measure);
      return (group, spanMs) => {
        const count = group[went] ?? 0;
        return spanMs > 0 && count > 0 ? (waiting(group) / count) * (spanMs / 1_000) : null;
      };
    }
    case "distinct": {
      const contacts = `${measure.contacts}_contacts`;
      return (group) => group[contacts] ?? 0;
    }
    case "age":
      return (group) => group.oldest_age ?? null;
  }
}

function sidesOf(
  { id, measure }: Metric,
  query: Asked,
): (group: MetricsGroup) => { part: number; whole: number } {
  if (measure.kind !== "ratio") throw new RangeError(`${id} is no ratio`);
  const side = (terms: Terms) => {
    const { plus, minus } = termsOf(measure, terms, query);
    const [added, taken] = [plus, minus].map((names) => names.map((name) => columnOf(name, query)));
    return (group: MetricsGroup) => sumOf(group, added!) - sumOf(group, taken!);
  };
  const [part, whole] = [side(measure.part), side(measure.whole)];
  return (group) => ({ part: part(group), whole: whole(group) });
}

function sumOf(group: MetricsGroup, columns: readonly string[]): number {
  let sum = 0;
  for (const name of columns) sum += group[name] ?? 0;
  return sum;
}

function durationValue(
  column: string,
  statistic: (Measure & { kind: "duration" })["statistic"],
  group: MetricsGroup,
): number | null {
  const n = group[`${column}_n`];
  if (!n) return null;
  if (statistic === "mean") return (group[column] ?? 0) / n / 1_000;
  if (statistic === "max") return binSeconds(group[`${column}_max`] ?? 0);
  return binSeconds(group[`${column}_p${statistic.percent}`] ?? 0);
}
