import type { DurationPlan, MetricsPlan, RollupPlan } from "../../analytics/metrics-plan.js";
import type { Segment } from "../../analytics/segments.js";
import {
  allDimensions,
  BINS_PER_SLOT,
  type Grouping,
  groupingFor,
  type RollupFamily,
} from "../rollups/family.js";

type Bind = (value: unknown) => string;

/** What one statement reads. */
interface Reading {
  plan: MetricsPlan;
  own: RollupPlan;
  family: RollupFamily;
  /** Of the days; quarters are kept by all dimensions only. */
  grouping: Grouping;
  bind: Bind;
}

/** Rows of this number are totals, the others number the buckets from 1. */
export const TOTAL = 0;
/** Rows of this number hold what was counted before the range. */
export const BEFORE = -1;

/**
 * The statement for one kind of rollups and its parameters, exported so that its plan can be looked at. Each segment is
 * one index range. Combinations of dimension values get a number (`grp`) first: everything after that groups and joins
 * by small integers. Totals are added up from the rows.
 */
export function metricsStatement(
  plan: MetricsPlan,
  own: RollupPlan,
  family: RollupFamily,
  maxRows: number,
): { text: string; parameters: unknown[] } {
  const parameters: unknown[] = [plan.query.accountId];
  const dims = plan.query.groupBy;
  const reading: Reading = {
    plan,
    own,
    family,
    grouping: groupingFor(family, [...dims, ...Object.keys(plan.query.filters)]),
    bind: (value) => `$${parameters.push(value)}`,
  };
  const isTimed = own.durations.length > 0;
  // Most of an answer is rows, and what they do not show has a price on its way too.
  const ofRow = (name: string) => (own.ofTotals.includes(name) ? `null::bigint as ${name}` : name);
  const sum = (name: string) => `coalesce(sum(${name}), 0)::bigint as ${name}`;
  const parts = [
    `freshness as materialized (${freshnessSql(own)})`,
    ...(isJoined(reading) ? [`dimensioned as materialized (${dimensionedSql(reading)})`] : []),
    `picked as not materialized (${pickedSql(reading)})`,
    `counted as materialized (
  select ${["bucket", "grp", ...own.columns.map(sum)].join(", ")}
  from picked group by bucket, grp${dims.length > 0 ? ` having ${isSomething(own)}` : ""}
)`,
    ...(isTimed ? durationParts(own.durations, family) : []),
    // A total without dimensions is there even if nothing is counted.
    `grouped as (
  select ${["bucket", "grp", ...own.columns.map(ofRow)].join(", ")} from counted
  union all
  select ${[TOTAL, dims.length > 0 ? "grp" : "0", ...own.columns.map(sum)].join(", ")}
  from counted where bucket > ${TOTAL} group by ${dims.length > 0 ? "grp" : "()"}
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
limit ${reading.bind(maxRows + 1)}`;
  return { text, parameters };
}

/** Since when something is missing in chats that wait to be read, and in all of them after a change of settings. */
const chatsReadSql = `(select m.counted_to from conversation_marks m where m.account_id = $1 order by m.counted_to limit 1),
           case when a.settings_version <> a.conversations_version then a.settings_changed_at end`;

/**
 * Nothing waits: now. Else the last time that nothing did, at the latest the moment before the first event. Of account
 * `$1`, in ms.
 */
export const freshnessSql = ({ needsChats }: Pick<RollupPlan, "needsChats">): string => `
  select floor(extract(epoch from least(case
           when exists (
             select from message_events e
             where e.account_id = $1 and (e.xid, e.seq) > (w.xid, w.seq)
           ) then coalesce(w.folded_at, a.created_at) else now() end${needsChats ? `, ${chatsReadSql}` : ""})) * 1000)::bigint as as_of
  from fold_watermarks w join accounts a using (account_id)
  where w.account_id = $1
`;

const isJoined = ({ plan: { query } }: Reading) =>
  query.groupBy.length > 0 || Object.keys(query.filters).length > 0;

/**
 * The combinations that pass the filters, of the days' grouping and of what is kept by all dimensions: those of all
 * quarters, or only of what waits, when just that is read. No value is empty text, so that stands for the unknown one.
 */
function dimensionedSql({ plan: { query, segments }, family, grouping, bind }: Reading): string {
  const value = (name: string) => `coalesce(${name}::text, '')`;
  const dims = query.groupBy;
  const group = dims.length > 0 ? `dense_rank() over (order by ${dims.map(value).join(", ")})` : "0";
  const passes = Object.entries(query.filters).map(
    ([name, values]) => `${value(name)} = any(${bind(values.map((one) => one ?? ""))}::text[])`,
  );
  const all = allDimensions(family).mask;
  const readsQuarters = segments.some(({ grain }) => grain === "quarters");
  const masks = new Set([grouping.mask, ...(readsQuarters ? [all] : [])]);
  const columns = ["dimensions_id", ...new Set([...dims, ...Object.keys(query.filters)])].join(", ");
  const waiting = `
    union all
    select ${columns}
    from (select distinct dimensions_id from ${family.deltas} where account_id = $1) waiting
    join lateral (
      select * from ${family.sets} s
      where s.account_id = $1 and s.grouping = ${all} and s.dimensions_id = waiting.dimensions_id limit 1
    ) met using (dimensions_id)`;
  return `
  select ${["dimensions_id", `${group} as grp`, ...dims.map((name) => `${value(name)} as ${name}`)].join(", ")}
  from (
    select ${columns} from ${family.sets}
    where account_id = $1 and grouping in (${[...masks].join(", ")})${masks.has(all) ? "" : waiting}
  ) known${passes.length > 0 ? `\n  where ${passes.join(" and ")}` : ""}
`;
}

/**
 * The rollup rows of the query and what waits to be added to them, each with the numbers of its bucket and of its
 * combination.
 */
function pickedSql(reading: Reading): string {
  const { plan, own, family } = reading;
  const [from, to] = [plan.query.from.getTime(), plan.query.to.getTime()];
  const waiting = (bounds: { from: number; to: number }, bucket?: string) => {
    const segment = { grain: "quarters", ...bounds } as const;
    return segmentSql(reading, segment, bucket ?? bucketNumber(reading, segment), family.deltas);
  };
  return [
    ...plan.segments.map((segment) => segmentSql(reading, segment, bucketNumber(reading, segment))),
    waiting({ from, to }),
    ...(own.levels.length > 0
      ? [
          ...plan.before.map((segment) => segmentSql(reading, segment, `${BEFORE}`)),
          waiting({ from: 0, to: from }, `${BEFORE}`),
        ]
      : []),
  ].join("\n  union all");
}

/** Columns that are read of each row: what is asked for, and what says whether there is anything of a group. */
const carriedColumns = ({ plan, own }: Reading): string[] => [
  ...new Set([...own.columns, ...(plan.query.groupBy.length > 0 ? own.presence : [])]),
];

const instant = (ms: number) => new Date(ms).toISOString();

function bucketNumber({ plan, bind }: Reading, segment: Segment): string {
  if (plan.bucketStarts.length === 1 && !plan.cells) return "1";
  const bucket =
    segment.grain === "days"
      ? `width_bucket(r.day, ${bind(plan.bucketDates)}::date[])`
      : `width_bucket(r.bucket, ${bind(plan.bucketStarts.map(instant))}::timestamptz[])`;
  return plan.cells ? `(${bind(plan.cells)}::integer[])[${bucket}]` : bucket;
}

/** Groups are shown where something is left of them. Where levels are counted from, it is a level. */
function isSomething({ presence, levels }: RollupPlan): string {
  const anyOf = (names: readonly string[]) => names.map((name) => `sum(${name}) > 0`).join(" or ");
  return levels.length > 0
    ? `case when bucket = ${BEFORE} then ${anyOf(levels)} else ${anyOf(presence)} end`
    : anyOf(presence);
}

function segmentSql(
  reading: Reading,
  segment: Segment,
  bucket: string,
  quarters = reading.family.quarters,
): string {
  const { own, family, grouping, bind, plan } = reading;
  const isBefore = bucket === `${BEFORE}`;
  const selected = [
    `${bucket} as bucket`,
    `${isJoined(reading) ? "d.grp" : "0"} as grp`,
    ...carriedColumns(reading).map((name) =>
      isBefore && !own.levels.includes(name) ? `null as ${name}` : `r.${name}`,
    ),
    ...(own.durations.length === 0
      ? []
      : isBefore
        ? [`null::${family.binType}[] as bins`, "null::integer[] as counts"]
        : ["r.bins", "r.counts"]),
  ];
  const [table, range] =
    segment.grain === "days"
      ? [
          family.days,
          `r.zone_id = ${segment.zoneId} and r.grouping = ${grouping.mask}
    and r.day >= ${bind(segment.from)}::date and r.day < ${bind(segment.to)}::date`,
        ]
      : [
          quarters,
          `r.bucket >= ${bind(instant(segment.from))}::timestamptz and r.bucket < ${bind(instant(segment.to))}::timestamptz`,
        ];
  const present = isBefore ? own.levels : [...own.presence, ...(own.durations.length > 0 ? ["bins"] : [])];
  const shown =
    plan.query.groupBy.length > 0
      ? ` and num_nonnulls(${present.map((name) => `r.${name}`).join(", ")}) > 0`
      : "";
  return `
  select ${selected.join(", ")}
  from ${table} r${isJoined(reading) ? " join dimensioned d on d.dimensions_id = r.dimensions_id" : ""}
  where r.account_id = $1 and ${range}${shown}`;
}

/**
 * Nearest ranks: bins are added up per group and the bin is taken in which the cumulative count reaches the rank, in
 * whole numbers (`upto * 100 >= n * percent`) that float8 holds exactly.
 */
function durationParts(durations: readonly DurationPlan[], family: RollupFamily): string[] {
  const slotOf = ({ column }: DurationPlan) => family.durations.indexOf(column);
  // Bins are in order, so those of a slot are a range of them. How many come before it:
  const edge = (slot: string) => `width_bucket(((${slot}) * ${BINS_PER_SLOT} - 1)::${family.binType}, bins)`;
  const picks = durations.flatMap((duration) => {
    const own = `slot = ${slotOf(duration)}`;
    return [
      `max(n) filter (where ${own}) as ${duration.column}_n`,
      `max(bin) filter (where ${own}) as ${duration.column}_max`,
      ...duration.percents.map(
        (percent) =>
          `min(bin) filter (where ${own} and upto * 100 >= n * ${percent}) as ${duration.column}_p${percent}`,
      ),
    ];
  });
  return [
    `added as materialized (
  select bucket, grp, code, sum(count)::float8 as count
  from (
    select bucket, grp, unnest(bins[first:last]) as code, unnest(counts[first:last]) as count
    from (
      select bucket, grp, bins, counts, ${edge("slot")} + 1 as first, ${edge("slot + 1")} as last
      from picked cross join (values ${durations.map((one) => `(${slotOf(one)})`).join(", ")}) asked(slot)
      where bins is not null
      offset 0
    ) ranges
  ) held
  group by bucket, grp, code having sum(count) <> 0
)`,
    `ranked as (
  select bucket, grp, slot, bin, sum(count) over (slots order by bin rows unbounded preceding) as upto,
         sum(count) over slots as n
  from (
    select bucket, grp, code / ${BINS_PER_SLOT} as slot, code % ${BINS_PER_SLOT} as bin, count
    from (
      select * from added
      union all
      select ${TOTAL}, grp, code, sum(count) from added group by grp, code
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
