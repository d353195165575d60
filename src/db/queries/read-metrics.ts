import { CompiledQuery } from "kysely";
import type { MetricDimension } from "../../analytics/catalog.js";
import type { LatencyPlan, MetricsGroup, MetricsPlan } from "../../analytics/metrics-plan.js";
import { InvalidInput, NotFound } from "../../errors.js";
import type { Db } from "../client.js";
import { BINS_PER_SLOT, latencySlots } from "../fold/contributions.js";

/** `bucket` (its start, RFC 3339 with milliseconds) in rows, dimension values (null: unknown), metrics (null: nothing). */
export type MetricsRow = Record<string, string | number | null>;

export interface MetricsResult {
  /** By bucket, then by dimension values, unknown ones last. */
  rows: MetricsRow[];
  totals: MetricsRow[];
  /** Everything that was stored by then is counted. */
  as_of: string;
}

/** More rows and totals than this are refused, never cut. */
export const MAX_METRICS_ROWS = 100_000;

/** A row of the statement: bucket 0 is the total. Dimension values are "" where unknown; null columns are absent. */
type GroupRow = MetricsGroup & { as_of: number | null; bucket: number | null };

/**
 * The metrics of one account, rows, totals and freshness from one snapshot. Reads the index range (account, from … to)
 * of the rollups once, the dimension sets only when they are asked for and the bins only for latencies. Throws
 * `InvalidInput` (`too_many_rows`) above `maxRows` and `NotFound` (`account_not_found`).
 */
export async function readMetrics(
  db: Db,
  plan: MetricsPlan,
  { maxRows = MAX_METRICS_ROWS }: { maxRows?: number } = {},
): Promise<MetricsResult> {
  const { text, parameters } = metricsStatement(plan, maxRows);
  const { rows } = await db.executeQuery<GroupRow>(CompiledQuery.raw(text, parameters));
  const asOf = rows[0]?.as_of;
  if (asOf === undefined || asOf === null)
    throw new NotFound("account_not_found", "There is no such account.");
  if (rows.length > maxRows)
    throw new InvalidInput(
      "too_many_rows",
      `The answer has more than ${maxRows.toLocaleString("en")} rows. ` +
        "Ask for a shorter range, a longer interval or fewer dimensions, or filter.",
    );
  const groups = rows.filter((row) => row.bucket !== null);
  const present = (row: GroupRow) => ({ ...dimensionsOf(row, plan.query.groupBy), ...plan.measure(row) });
  return {
    rows: bucketRows(plan, groups, present),
    totals: groups.filter((row) => row.bucket === 0).map(present),
    as_of: new Date(asOf).toISOString(),
  };
}

/** Without dimensions every bucket has its row, empty ones too. */
function bucketRows(
  plan: MetricsPlan,
  groups: readonly GroupRow[],
  present: (row: GroupRow) => MetricsRow,
): MetricsRow[] {
  const startOf = (index: number) => new Date(plan.bucketStarts[index - 1]!).toISOString();
  const found = groups.filter((row) => row.bucket !== 0);
  if (plan.query.groupBy.length > 0)
    return found.map((row) => ({ bucket: startOf(row.bucket!), ...present(row) }));
  const byBucket = new Map(found.map((row) => [row.bucket, row]));
  const empty = plan.measure({});
  return plan.bucketStarts.map((_, index) => {
    const row = byBucket.get(index + 1);
    return { bucket: startOf(index + 1), ...(row ? present(row) : empty) };
  });
}

function dimensionsOf(row: GroupRow, groupBy: readonly MetricDimension[]): MetricsRow {
  const values: Readonly<Record<string, unknown>> = row;
  return Object.fromEntries(groupBy.map((name) => [name, (values[name] as string) || null]));
}

/** The statement and its parameters, exported so that its plan can be looked at. */
export function metricsStatement(
  plan: MetricsPlan,
  maxRows: number,
): { text: string; parameters: unknown[] } {
  const { query, columns, latencies } = plan;
  const parameters: unknown[] = [query.accountId];
  const bind = (value: unknown) => `$${parameters.push(value)}`;
  const dims = query.groupBy;
  const picked = pickedSql(plan, bind);
  const keys = ["bucket", ...dims];
  const groups = groupingSets(dims, []);
  const text = `
with freshness as (
  select floor(extract(epoch from case
           when exists (
             select from message_events e
             where e.account_id = $1 and (e.xid, e.seq) > (w.xid, w.seq)
           ) then coalesce(w.folded_at, a.created_at) else now() end) * 1000)::bigint as as_of
  from fold_watermarks w join accounts a using (account_id)
  where w.account_id = $1
),
picked as (${picked}),
counted as (
  select ${[TOTAL_OR_BUCKET, ...dims, ...columns.map((name) => `coalesce(sum(${name}), 0)::bigint as ${name}`)].join(", ")}
  from picked
  group by ${groups}
)${latencies.length > 0 ? `,${latenciesSql(dims, latencies)}` : ""}
select f.as_of, g.*
from freshness f
left join (
  select * from counted${latencies.length > 0 ? ` left join timed using (${keys.join(", ")})` : ""}
) g on true
order by g.bucket = 0, g.bucket${dims.map((name) => `, nullif(g.${name}, '') collate "C" nulls last`).join("")}
limit ${bind(maxRows + 1)}`;
  return { text, parameters };
}

const TOTAL_OR_BUCKET = "case when grouping(bucket) = 1 then 0 else bucket end as bucket";

/** Rows and totals at once. */
function groupingSets(dims: readonly string[], more: readonly string[]): string {
  const total = [...dims, ...more];
  return `grouping sets ((${["bucket", ...total].join(", ")}), (${total.join(", ")}))`;
}

/** The rollup rows of the query, each with the number of its bucket. No value is empty text, so that is the unknown. */
function pickedSql(plan: MetricsPlan, bind: (value: unknown) => string): string {
  const { query, columns, latencies, presence } = plan;
  const filters = Object.entries(query.filters);
  const value = (name: string) => `coalesce(d.${name}::text, '')`;
  const starts = plan.bucketStarts.map((start) => new Date(start).toISOString());
  const selected = [
    `width_bucket(r.bucket, ${bind(starts)}::timestamptz[]) as bucket`,
    ...query.groupBy.map((name) => `${value(name)} as ${name}`),
    ...columns.map((name) => `r.${name}`),
    ...(latencies.length > 0 ? ["r.bins", "r.counts"] : []),
  ];
  const conditions = [
    "r.account_id = $1",
    `r.bucket >= ${bind(query.from.toISOString())}::timestamptz`,
    `r.bucket < ${bind(query.to.toISOString())}::timestamptz`,
    ...filters.map(
      ([name, values]) => `${value(name)} = any(${bind(values.map((one) => one ?? ""))}::text[])`,
    ),
    ...(query.groupBy.length > 0 ? [`(${presence.map((name) => `r.${name} > 0`).join(" or ")})`] : []),
  ];
  const isJoined = query.groupBy.length > 0 || filters.length > 0;
  return `
  select ${selected.join(", ")}
  from rollups r${isJoined ? "\n  join dimension_sets d on d.account_id = r.account_id and d.dimensions_id = r.dimensions_id" : ""}
  where ${conditions.join("\n    and ")}
`;
}

const slotOf = ({ column }: LatencyPlan): number => latencySlots.findIndex((slot) => slot.sum === column);

/**
 * Nearest ranks: bins are added up per group and the bin is taken in which the cumulative count reaches the rank, in
 * whole numbers (`upto * 100 >= percent * n`) that float8 holds exactly.
 */
function latenciesSql(dims: readonly MetricDimension[], latencies: readonly LatencyPlan[]): string {
  const keys = ["bucket", ...dims].join(", ");
  const picks = latencies.flatMap((latency) => {
    const own = `slot = ${slotOf(latency)}`;
    return [
      `max(n) filter (where ${own}) as ${latency.column}_n`,
      `max(bin) filter (where ${own}) as ${latency.column}_max`,
      ...latency.percents.map(
        (percent) =>
          `min(bin) filter (where ${own} and upto * 100 >= n * ${percent}) as ${latency.column}_p${percent}`,
      ),
    ];
  });
  return `
added as (
  select ${[TOTAL_OR_BUCKET, ...dims].join(", ")}, code / ${BINS_PER_SLOT} as slot, code % ${BINS_PER_SLOT} as bin, sum(count)::float8 as count
  from picked cross join lateral unnest(bins, counts) as held(code, count)
  where code / ${BINS_PER_SLOT} in (${latencies.map(slotOf).join(", ")})
  group by ${groupingSets(dims, ["code"])}
),
ranked as (
  select ${keys}, slot, bin,
         sum(count) over (partition by ${keys}, slot order by bin rows unbounded preceding) as upto,
         sum(count) over (partition by ${keys}, slot) as n
  from added
),
timed as (
  select ${keys}, ${picks.join(",\n         ")}
  from ranked
  group by ${keys}
)`;
}
