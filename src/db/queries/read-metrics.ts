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

/**
 * The statement and its parameters, exported so that its plan can be looked at. Combinations of dimension values get a
 * number (`grp`) first: everything after that groups and joins by small integers. Totals are added up from the rows.
 */
export function metricsStatement(
  plan: MetricsPlan,
  maxRows: number,
): { text: string; parameters: unknown[] } {
  const parameters: unknown[] = [plan.query.accountId];
  const bind = (value: unknown) => `$${parameters.push(value)}`;
  const { columns } = plan;
  const dims = plan.query.groupBy;
  const isTimed = plan.latencies.length > 0;
  const parts = [
    `freshness as materialized (${freshnessSql})`,
    ...(isJoined(plan) ? [`dimensioned as materialized (${dimensionedSql(plan, bind)})`] : []),
    `picked as not materialized (${pickedSql(plan, bind)})`,
    `counted as materialized (
  select ${["bucket", "grp", ...columns.map((name) => `sum(${name})::bigint as ${name}`)].join(", ")}
  from picked group by bucket, grp
)`,
    ...(isTimed ? latencyParts(plan.latencies) : []),
    // A total without dimensions is there even if nothing is counted.
    `grouped as (
  select * from counted
  union all
  select ${["0", dims.length > 0 ? "grp" : "0", ...columns.map((name) => `coalesce(sum(${name}), 0)::bigint`)].join(", ")}
  from counted group by ${dims.length > 0 ? "grp" : "()"}
)`,
  ];
  const text = `
with ${parts.join(",\n")}
select f.as_of, g.*
from freshness f
left join (
  select * from grouped
  ${isTimed ? "left join timed using (bucket, grp)" : ""}
  ${dims.length > 0 ? `join (select distinct grp, ${dims.join(", ")} from dimensioned) names using (grp)` : ""}
) g on true
order by g.bucket = 0, g.bucket${dims.map((name) => `, nullif(g.${name}, '') collate "C" nulls last`).join("")}
limit ${bind(maxRows + 1)}`;
  return { text, parameters };
}

/** Nothing waits: now. Else the last time that nothing did, at the latest the moment before the first event. */
const freshnessSql = `
  select floor(extract(epoch from case
           when exists (
             select from message_events e
             where e.account_id = $1 and (e.xid, e.seq) > (w.xid, w.seq)
           ) then coalesce(w.folded_at, a.created_at) else now() end) * 1000)::bigint as as_of
  from fold_watermarks w join accounts a using (account_id)
  where w.account_id = $1
`;

const isJoined = ({ query }: MetricsPlan) =>
  query.groupBy.length > 0 || Object.keys(query.filters).length > 0;

/** The dimension sets that pass the filters. No value is empty text, so that stands for the unknown one. */
function dimensionedSql({ query }: MetricsPlan, bind: (value: unknown) => string): string {
  const value = (name: string) => `coalesce(${name}::text, '')`;
  const dims = query.groupBy;
  const group = dims.length > 0 ? `dense_rank() over (order by ${dims.map(value).join(", ")})` : "0";
  const passes = Object.entries(query.filters).map(
    ([name, values]) => `\n    and ${value(name)} = any(${bind(values.map((one) => one ?? ""))}::text[])`,
  );
  return `
  select ${["dimensions_id", `${group} as grp`, ...dims.map((name) => `${value(name)} as ${name}`)].join(", ")}
  from dimension_sets
  where account_id = $1${passes.join("")}
`;
}

/** The rollup rows of the query, each with the numbers of its bucket and of its combination. */
function pickedSql(plan: MetricsPlan, bind: (value: unknown) => string): string {
  const { query, columns, latencies, presence } = plan;
  const starts = plan.bucketStarts.map((start) => new Date(start).toISOString());
  const selected = [
    `width_bucket(r.bucket, ${bind(starts)}::timestamptz[]) as bucket`,
    `${isJoined(plan) ? "d.grp" : "0"} as grp`,
    ...columns.map((name) => `r.${name}`),
    ...(latencies.length > 0 ? ["r.bins", "r.counts"] : []),
  ];
  const conditions = [
    "r.account_id = $1",
    `r.bucket >= ${bind(query.from.toISOString())}::timestamptz`,
    `r.bucket < ${bind(query.to.toISOString())}::timestamptz`,
    ...(query.groupBy.length > 0 ? [`(${presence.map((name) => `r.${name} > 0`).join(" or ")})`] : []),
  ];
  return `
  select ${selected.join(", ")}
  from rollups r${isJoined(plan) ? " join dimensioned d on d.dimensions_id = r.dimensions_id" : ""}
  where ${conditions.join(" and ")}
`;
}

const slotOf = ({ column }: LatencyPlan): number => latencySlots.findIndex((slot) => slot.sum === column);

/**
 * Nearest ranks: bins are added up per group and the bin is taken in which the cumulative count reaches the rank, in
 * whole numbers (`upto * 100 >= n * percent`) that float8 holds exactly.
 */
function latencyParts(latencies: readonly LatencyPlan[]): string[] {
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
  return [
    `added as materialized (
  select bucket, grp, code, sum(count)::float8 as count
  from picked cross join lateral unnest(bins, counts) as held(code, count)
  where code / ${BINS_PER_SLOT} in (${latencies.map(slotOf).join(", ")})
  group by bucket, grp, code
)`,
    `ranked as (
  select bucket, grp, slot, bin, sum(count) over (slots order by bin rows unbounded preceding) as upto,
         sum(count) over slots as n
  from (
    select bucket, grp, code / ${BINS_PER_SLOT} as slot, code % ${BINS_PER_SLOT} as bin, count
    from (
      select * from added
      union all
      select 0, grp, code, sum(count) from added group by grp, code
    ) each_group
  ) each_slot
  window slots as (partition by bucket, grp, slot)
)`,
    `timed as (
  select bucket, grp, ${picks.join(",\n         ")}
  from ranked group by bucket, grp
)`,
  ];
}
