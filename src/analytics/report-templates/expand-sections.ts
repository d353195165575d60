import type { Interval } from "../buckets.js";
import type { MetricDimension } from "../catalog.js";
import type { MetricsFields } from "../metrics-query.js";
import { REQUESTED, type Section } from "./sections.js";
import { capitalized, defaultTitle, dimensionWords, intervalWords } from "./words.js";

/** A section as it is after what is asked for has taken its place. */
export interface ExpandedSection {
  section: Section;
  name: string;
  title: string;
  interval: Interval | undefined;
  groupBy: readonly MetricDimension[];
}

type Requested = Pick<MetricsFields, "interval" | "group_by">;

/** The sections with what is asked for in its place, under names that no two of them have. */
export function expandSections(sections: readonly Section[], requested: Requested): ExpandedSection[] {
  const nameOf = uniqueNames();
  return sections
    .flatMap((section) => expanded(section, requested))
    .map((one) => ({ ...one, name: nameOf(one.name) }));
}

function expanded(section: Section, { interval, group_by }: Requested): ExpandedSection[] {
  if (section.kind !== "table") return [named(section, undefined, [])];
  const bucket = section.interval === REQUESTED ? interval : section.interval;
  const groups = section.group_by === REQUESTED ? group_by.map((name) => [name]) : [section.group_by ?? []];
  return groups.map((groupBy) => named(section, bucket, groupBy));
}

function named(
  section: Section,
  interval: Interval | undefined,
  groupBy: readonly MetricDimension[],
): ExpandedSection {
  const [dimension] = groupBy;
  const fill = (text: string, words: { interval: string; dimension: string }) =>
    text.replace("{interval}", words.interval).replace("{dimension}", words.dimension);
  const title = fill(section.title ?? defaultTitle(section), {
    interval: interval ? intervalWords[interval] : "",
    dimension: dimension ? dimensionWords[dimension] : "",
  });
  const name = fill(section.id, { interval: interval ?? "", dimension: dimension ?? "" });
  return { section, name, title: capitalized(title), interval, groupBy };
}

function uniqueNames(): (wanted: string) => string {
  const taken = new Set<string>();
  return (wanted) => {
    let name = wanted;
    for (let n = 2; taken.has(name); n++) name = `${wanted}_${n}`;
    taken.add(name);
    return name;
  };
}
