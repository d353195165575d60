import { CompiledQuery } from "kysely";
import type { RollupName } from "../../analytics/catalog.js";
import type { MetricsGroup, MetricsPlan, RollupPlan } from "../../analytics/metrics-plan.js";
import { InvalidInput, NotFound } from "../../errors.js";
import type { Db } from "../client.js";
import { conversationRollups } from "../rollups/conversations.js";
import type { RollupFamily } from "../rollups/family.js";
import { messageRollups } from "../rollups/messages.js";
import { BEFORE, metricsStatement, TOTAL } from "./metrics-statement.js";
import { oldestQueued } from "./oldest-queued.js";
import { readContacts } from "./read-contacts.js";

/** `bucket` (its start, RFC 3339 with milliseconds) in rows, dimension values (null: unknown), metrics (null: nothing). */
export type MetricsRow = Record<string, string | number | null>;

export interface MetricsResult {
  /** By bucket, then by dimension values, unknown ones last. */
  rows: MetricsRow[];
  totals: MetricsRow[];
  /** Everything that was stored by then is counted. */
  as_of: string;
  /** How far the numbers can be trusted, over the whole range. */
  coverage: ReturnType<MetricsPlan["coverage"]>;
  /** Whether a queued event is known of each combination that is told. */
  has_queue: boolean;
}

/** More rows and totals than this are refused, never cut. */
export const MAX_METRICS_ROWS = 100_000;

const families: Record<Exclude<RollupName, "contacts">, RollupFamily> = {
  messages: messageRollups,
  conversations: conversationRollups,
};

/** A row of a statement. Dimension values are "" where unknown. */
type GroupRow = MetricsGroup & { as_of: number | null; bucket: number | null };

/** One combination of dimension values over the buckets. */
export interface Series {
  dimensions: MetricsRow;
  buckets: Map<number, MetricsGroup>;
}

/**
 * The metrics of one account, rows, totals and freshness from one snapshot. Reads index ranges of the rollups, the
 * combinations only when they are asked for and the bins only for durations. What lies after `now` has not passed yet. Throws `InvalidInput` (`too_many_rows`)
 * above `maxRows` and `NotFound` (`account_not_found`).
 */
export async function readMetrics(
  db: Db,
  plan: MetricsPlan,
  { maxRows = MAX_METRICS_ROWS, now = new Date() }: { maxRows?: number; now?: Date } = {},
): Promise<MetricsResult> {
  const { series, asOf, ages } = await oneSnapshot(db, plan, async (snapshot) => ({
    ...(await readSeries(snapshot, plan, maxRows)),
    ages: plan.asksAge ? await oldestQueued(snapshot, plan.query) : new Map<string, number>(),
  }));
  const shown = new Set(series.filter(({ buckets }) => buckets.has(TOTAL)));
  for (const one of series) if (followLevels(plan, one)) shown.add(one);
  const everything = addedUp(series.map(({ buckets }) => buckets.get(TOTAL) ?? {}));
  return {
    rows: bucketRows(plan, series, now),
    totals: series
      .filter((one) => shown.has(one))
      .map(({ dimensions, buckets }) => ({
        ...dimensions,
        ...plan.measure(
          { ...buckets.get(TOTAL), oldest_age: ages.get(keyOf(Object.values(dimensions))) },
          Math.min(plan.query.to.getTime(), now.getTime()) - plan.query.from.getTime(),
        ),
      })),
    as_of: new Date(asOf).toISOString(),
    coverage: plan.coverage(everything),
    has_queue: series.length > 0 && series.every(({ buckets }) => buckets.get(TOTAL)?.upto_queued),
  };
}

/** One statement is a snapshot of its own; several need a transaction for theirs, or are in one already. */
async function oneSnapshot<T>(db: Db, plan: MetricsPlan, read: (db: Db) => Promise<T>): Promise<T> {
  if (db.isTransaction || (plan.rollups.length === 1 && !plan.contacts && !plan.asksAge)) return read(db);
  return inOneSnapshot(db, read);
}

/** Everything that is read in it is of the same moment. It writes nothing, so it holds no watermark back. */
export const inOneSnapshot = <T>(db: Db, read: (db: Db) => Promise<T>): Promise<T> =>
  db
    .transaction()
    .setIsolationLevel("repeatable read")
    .setAccessMode("read only")
    .execute((trx) => read(trx));

/** What has been added up by bucket, or by cell where the plan has some, for each combination of dimension values. */
export async function readSeries(
  db: Db,
  plan: MetricsPlan,
  maxRows: number,
): Promise<{ series: Series[]; asOf: number }> {
  const found = new Map<string, Series>();
  let asOf: number | undefined;
  for (const own of plan.rollups) {
    const rows = await runStatement(db, plan, own, maxRows);
    asOf = Math.min(asOf ?? Number.POSITIVE_INFINITY, rows[0]!.as_of!);
    for (const row of rows) if (row.bucket !== null) addRow(found, plan, row);
  }
  if (plan.contacts)
    for (const row of await readContacts(db, plan.query.accountId, plan.contacts)) addRow(found, plan, row);
  return { series: [...found.values()].sort(byDimensions), asOf: asOf! };
}

async function runStatement(
  db: Db,
  plan: MetricsPlan,
  own: RollupPlan,
  maxRows: number,
): Promise<GroupRow[]> {
  const { text, parameters } = metricsStatement(plan, own, families[own.rollup], maxRows);
  const { rows } = await db.executeQuery<GroupRow>(CompiledQuery.raw(text, parameters));
  if (typeof rows[0]?.as_of !== "number")
    throw new NotFound("account_not_found", "There is no such account.");
  if (rows.length > maxRows)
    throw new InvalidInput(
      "too_many_rows",
      `The answer has more than ${maxRows.toLocaleString("en")} rows. ` +
        "Ask for a shorter range, a longer interval or fewer dimensions, or filter.",
    );
  return rows;
}

function addRow(found: Map<string, Series>, plan: MetricsPlan, row: GroupRow): void {
  const values: Readonly<Record<string, unknown>> = row;
  const dimensions = plan.query.groupBy.map((name) => (values[name] as string) || null);
  const key = keyOf(dimensions);
  let series = found.get(key);
  if (!series) {
    series = {
      dimensions: Object.fromEntries(plan.query.groupBy.map((name, index) => [name, dimensions[index]!])),
      buckets: new Map(),
    };
    found.set(key, series);
  }
  const known = series.buckets.get(row.bucket!);
  series.buckets.set(row.bucket!, known ? { ...known, ...row } : row);
}

export const keyOf = (dimensions: readonly (string | number | null)[]): string => JSON.stringify(dimensions);

/** By the values in turn, unknown ones last. */
function byDimensions(a: Series, b: Series): number {
  for (const [name, value] of Object.entries(a.dimensions)) {
    const other = b.dimensions[name] ?? null;
    if (value === other) continue;
    if (value === null) return 1;
    if (other === null) return -1;
    return compareTexts(String(value), String(other));
  }
  return 0;
}

/** By code points, as PostgreSQL's collation "C" does; JavaScript compares halves of surrogate pairs. */
const compareTexts = (a: string, b: string): number =>
  SURROGATE.test(a) || SURROGATE.test(b) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : a < b ? -1 : 1;
const SURROGATE = /[\ud800-\udfff]/;

/**
 * Carries what is counted since the beginning through the buckets, those without a row too, as `upto_<column>`. Whether
 * any of it stands at the end: that is a total even if nothing moved in the range.
 */
function followLevels(plan: MetricsPlan, { buckets }: Series): boolean {
  const levels = [...new Set(plan.rollups.flatMap((own) => own.levels))];
  if (levels.length === 0) return false;
  const upto = Object.fromEntries(levels.map((name) => [`upto_${name}`, buckets.get(BEFORE)?.[name] ?? 0]));
  const isFilled = plan.query.groupBy.length === 0;
  for (let bucket = 1; bucket <= plan.bucketStarts.length; bucket++) {
    const group = buckets.get(bucket);
    for (const name of levels) upto[`upto_${name}`]! += group?.[name] ?? 0;
    if (group || isFilled) buckets.set(bucket, { ...group, ...upto });
  }
  buckets.set(TOTAL, { ...buckets.get(TOTAL), ...upto });
  return upto.upto_queued !== upto.upto_dequeued;
}

/** By bucket. Without dimensions every bucket has its row, empty ones too. */
function bucketRows(plan: MetricsPlan, series: readonly Series[], now: Date): MetricsRow[] {
  const { bucketStarts, query } = plan;
  const isFilled = query.groupBy.length === 0;
  return bucketStarts.flatMap((start, index) => {
    const bucket = new Date(start).toISOString();
    const end = bucketStarts[index + 1] ?? query.to.getTime();
    const spanMs = Math.min(end, now.getTime()) - Math.max(start, query.from.getTime());
    return series.flatMap(({ dimensions, buckets }) => {
      const group = buckets.get(index + 1);
      return group || isFilled
        ? [Object.assign({ bucket }, dimensions, plan.measure(group ?? {}, spanMs))]
        : [];
    });
  });
}

function addedUp(groups: readonly MetricsGroup[]): MetricsGroup {
  const sums: Record<string, number> = {};
  for (const group of groups)
    for (const [name, value] of Object.entries(group))
      if (typeof value === "number") sums[name] = (sums[name] ?? 0) + value;
  return sums;
}
