import {
  additiveColumns,
  BIN_GROWTH,
  BINS_PER_SLOT,
  BUCKET_SECONDS,
  counterBit,
  groupingsOf,
  type RollupFamily,
} from "./family.js";
import { binArrays, summedColumns } from "./summed.js";

export const bucketOf = (time: string): string =>
  `date_bin('${BUCKET_SECONDS} seconds', ${time}, 'epoch'::timestamptz)`;

/**
 * The local day of a bucket: the latest date that local clocks have shown up to then. A clock that is set back over
 * midnight shows the day before once more, within an hour; the new day goes on all the same.
 */
export const dayOf = (bucket: string, zone: string): string =>
  `greatest(${[0, 15, 30, 45, 60]
    .map((minutes) => `((${bucket} - interval '${minutes} minutes') at time zone ${zone})::date`)
    .join(", ")})`;

/** The zones whose days are kept of account `$1`. */
export const ZONES = "select zone_id, time_zone from account_zones where account_id = $1";

/** Names of the common table expressions that hold the differences of both grains. */
export const QUARTER_DELTAS = "quarter_deltas";
export const DAY_DELTAS = "day_deltas";

/** Sums of other numbers are coded below zero, where no bin is. */
const sumCode = (index: number) => -1 - index;

/**
 * Common table expressions that add up what states contribute, signs applied, by quarters of an hour. Expected are
 * - `sets(dimensions_id, <dimensions>)`: the combinations met, once each,
 * - `placed(sign, dimensions_id, at, mask)`: counters, at null where nothing counts,
 * - `measured(sign, dimensions_id, at, slot, value)`: durations in ms (slot ≥ 0, null where not measured; below zero, where
 *   the clocks disagree, counts as 0) and, in the slots after them, the other sums.
 *
 * The result is `quarter_deltas`, a row per bucket and combination, null where nothing changes. What cancels out is
 * dropped early: most states of a batch differ from their old ones in few places.
 */
export function quarterDeltasSql(family: RollupFamily): string {
  const code = `(case when slot >= ${family.durations.length} then ${family.durations.length - 1} - slot
         else slot * ${BINS_PER_SLOT} + case when value <= 0 then 0
           else 1 + floor(ln(value::float8) / ln(${BIN_GROWTH}::float8)) end end)::${family.binType}`;
  const isBin = family.sums.length > 0 ? "code >= 0" : "true";
  return `
masked as materialized (
  select dimensions_id, bucket, mask, sum(sign)::integer as n
  from (select sign, dimensions_id, ${bucketOf("at")} as bucket, mask from placed where at is not null) each
  group by dimensions_id, bucket, mask having sum(sign) <> 0
),
binned as materialized (
  select dimensions_id, bucket, code, sum(sign)::integer as n, sum(sign * value)::bigint as total
  from (
    select sign, dimensions_id, ${bucketOf("at")} as bucket, greatest(value, 0) as value, ${code} as code
    from measured where value is not null and at is not null
  ) each
  group by dimensions_id, bucket, code having sum(sign) <> 0 or sum(sign * value) <> 0
),
${QUARTER_DELTAS} as materialized (
  select coalesce(c.bucket, t.bucket) as bucket, coalesce(c.dimensions_id, t.dimensions_id) as dimensions_id,
         ${[...family.counters.map((one) => `c.${one}`), ...family.durations.map((one) => `t.${one}`), ...family.sums.map((one) => `t.${one}`)].join(", ")},
         t.bins, t.counts
  from (
    select bucket, dimensions_id,
           ${family.counters.map((one) => `nullif(sum(n) filter (where mask & ${counterBit(family, one)} <> 0), 0)::integer as ${one}`).join(",\n           ")}
    from masked group by bucket, dimensions_id
  ) c
  full join (
    select bucket, dimensions_id,
           ${[
             ...family.durations.map(
               (one, slot) =>
                 `nullif(sum(total) filter (where code between ${slot * BINS_PER_SLOT} and ${(slot + 1) * BINS_PER_SLOT - 1}), 0)::bigint as ${one}`,
             ),
             ...family.sums.map(
               (one, index) =>
                 `nullif(sum(total) filter (where code = ${sumCode(index)}), 0)::bigint as ${one}`,
             ),
           ].join(",\n           ")},
           ${binArrays("code", ` filter (where n <> 0 and ${isBin})`)}
    from binned group by bucket, dimensions_id
  ) t using (bucket, dimensions_id)
)`;
}

/**
 * Common table expressions that tell the days of differences by quarters: `quarters` is a relation like
 * `quarter_deltas`, with any number of rows to a key, and `sets` knows its combinations. The result is `day_deltas` for
 * every zone and grouping, and `members`, the combinations in every grouping. Days before the account's floor are one,
 * at `-infinity`. Days are added up before they are told apart by grouping, and under small numbers, since every row
 * of a day counts in all its groupings.
 */
export function dayDeltasSql(family: RollupFamily, quarters: string, sets: string): string {
  const columns = additiveColumns(family);
  const sums = summedColumns(family, columns);
  return `
local_days as materialized (
  select bucket, zone_id, day, dense_rank() over (order by zone_id, day)::integer as day_no
  from (
    select bucket, zone_id, case when day < days_from then '-infinity' else day end as day
    from (
      select bucket, zone_id, ${dayOf("bucket", "time_zone")} as day
      from (select distinct bucket from ${quarters}) met
      cross join (${ZONES}) zones
    ) dated
    cross join (select days_from from accounts where account_id = $1) floor
  ) kept
),
members as materialized (
  select *, dense_rank() over (order by dimensions_id)::integer as set_no,
         dense_rank() over (order by grouping, set_id)::integer as member_no
  from (${membersSql(family, sets)}) each
),
numbered_sets as materialized (select distinct dimensions_id, set_no from members),
numbered_members as materialized (select set_no, member_no from members),
numbered as materialized (
  select set_no, day_no, ${[...columns, "bins", "counts"].join(", ")}
  from ${quarters} join local_days using (bucket) join numbered_sets using (dimensions_id)
),
set_days as (select set_no, day_no, ${sums} from numbered group by set_no, day_no),
counted_days as (
  select member_no, day_no, ${sums}
  from set_days join numbered_members using (set_no) group by member_no, day_no
),
set_bins as (
  select set_no, day_no, bin, sum(n)::integer as n
  from (select set_no, day_no, unnest(bins) as bin, unnest(counts) as n from numbered) each
  group by set_no, day_no, bin having sum(n) <> 0
),
day_bins as (
  select member_no, day_no, bin, sum(n)::integer as n
  from set_bins join numbered_members using (set_no)
  group by member_no, day_no, bin having sum(n) <> 0
),
binned_days as (
  select member_no, day_no, ${binArrays("bin")}
  from day_bins group by member_no, day_no
),
${DAY_DELTAS} as materialized (
  select zone_id, grouping, day, set_id as dimensions_id, ${[...columns, "bins", "counts"].join(", ")}
  from counted_days
  left join binned_days using (member_no, day_no)
  join (select distinct member_no, grouping, set_id from members) sets_of using (member_no)
  join (select distinct day_no, zone_id, day from local_days) days_of using (day_no)
)`;
}

/** The id of a combination: a digest of its values, so that no dictionary is read. */
export const setId = (family: RollupFamily): string =>
  `md5(row(${family.dimensions.join(", ")})::text)::uuid`;

/** For each combination met, the one it belongs to in every grouping, as `set_id`. */
function membersSql(family: RollupFamily, sets: string): string {
  const groupings = groupingsOf(family);
  const all = groupings.at(-1)!;
  const ids = groupings.map(({ mask, dimensions }) =>
    mask === all.mask ? "dimensions_id" : `md5(row(${[mask, ...dimensions].join(", ")})::text)::uuid`,
  );
  return `
  select dimensions_id, unnest(array[${groupings.map(({ mask }) => mask).join(", ")}]::smallint[]) as grouping,
         unnest(array[${ids.join(",\n               ")}]) as set_id
  from ${sets}
`;
}
