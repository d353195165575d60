import type { Interval } from "../../analytics/buckets.js";
import { findMetric, type Unit } from "../../analytics/catalog.js";
import type { PlannedSection } from "../../analytics/report-templates/plan-sections.js";
import type { MetricsRow } from "../../db/queries/read-metrics.js";

/** What tells the rows of a table apart. */
export interface KeyColumn {
  name: string;
  title: string;
  type: "bucket" | "text" | "integer";
}

export interface ValueColumn {
  name: string;
  title: string;
  unit: Unit;
}

/** The numbers of a section, before any format: every format is written from this alone. */
export interface SectionTable {
  /** Of the section; a section of flows has two tables. */
  section: { name: string; title: string };
  name: string;
  kind: PlannedSection["kind"];
  title: string;
  description: string | undefined;
  keys: readonly KeyColumn[];
  values: readonly ValueColumn[];
  rows: readonly MetricsRow[];
  /** Rows that there are and that are not told, and why. */
  rowsLeftOut: number;
  leftOutBecause: string | undefined;
  /** What a comparison is with; undefined where nothing is kept of it. */
  comparedWith: { from: string; to: string } | undefined;
  /** Buckets after the first rows were not read. */
  isCut: boolean;
  /** Of the buckets. */
  interval: Interval | undefined;
  /** Names of the values that a chart shows; none: no chart. */
  charted: readonly string[];
}

export interface ReadReport {
  tables: SectionTable[];
  /** Everything that was stored by then is counted. */
  asOf: string;
}

export interface ReadOptions {
  /** What lies after it has not passed yet. */
  now: Date;
  /** More rows of a section than this are refused. */
  maxRows?: number;
  /** Only about the first rows: buckets after so many are not read. */
  firstRows?: number | undefined;
  signal?: AbortSignal;
}

/** What a table has of its section, before its rows are known. */
export const described = ({ name, kind, title, section }: PlannedSection) => ({
  section: { name, title },
  name,
  kind,
  title,
  description: section.description,
  rowsLeftOut: 0,
  leftOutBecause: undefined,
  comparedWith: undefined,
  isCut: false,
  interval: undefined,
  charted: [],
});

export function valueColumn(id: string, title?: string): ValueColumn {
  const metric = findMetric(id)!;
  return { name: id, title: title ?? metric.title, unit: metric.unit };
}
