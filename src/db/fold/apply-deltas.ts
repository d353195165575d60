import { additiveColumns, dimensions } from "./contributions.js";

const isEmpty = (row: string) =>
  `${additiveColumns.map((name) => `${row}.${name} = 0`).join(" and ")} and ${row}.bins is null`;

/** Sparse bins of the row we have and of what is added, bin by bin; null when nothing is left. */
const mergedBins = (value: "bin" | "n") => `(
    select array_agg(${value} order by bin)
    from (
      select bin, sum(n)::integer as n
      from (
        select * from unnest(o.bins, o.counts) as held(bin, n)
        union all
        select * from unnest(d.bins, d.counts) as added(bin, n)
      ) parts
      group by bin having sum(n) <> 0
    ) merged
  )`;

const pickBins = (column: "bins" | "counts", value: "bin" | "n") =>
  `case when d.bins is null then o.${column} when o.bins is null then d.${column} else ${mergedBins(value)} end`;

/**
 * Common table expressions that add `deltas` (see `contributionsSql`) to the rollups of account `$1`. Rows that come
 * to nothing are removed. The caller holds the account's fold lock, so what is read here cannot change before it is
 * written. `rolled` holds the rows as they will be.
 */
export const applyDeltasSql = `
rolled as materialized (
  select d.bucket, d.dimensions_id, o.bucket is null as is_new,
         ${additiveColumns.map((name) => `d.${name} + coalesce(o.${name}, 0) as ${name}`).join(",\n         ")},
         ${pickBins("bins", "bin")} as bins,
         ${pickBins("counts", "n")} as counts
  from deltas d
  left join lateral (
    select * from rollups r
    where r.account_id = $1 and r.bucket = d.bucket and r.dimensions_id = d.dimensions_id
    limit 1
  ) o on true
  where d.bins is not null or ${additiveColumns.map((name) => `d.${name} <> 0`).join(" or ")}
),
rollups_upserted as (
  insert into rollups (account_id, bucket, dimensions_id, ${additiveColumns.join(", ")}, bins, counts)
  select $1, bucket, dimensions_id, ${additiveColumns.join(", ")}, bins, counts
  from rolled where not (${isEmpty("rolled")})
  order by bucket, dimensions_id
  on conflict (account_id, bucket, dimensions_id) do update set
    ${[...additiveColumns, "bins", "counts"].map((name) => `${name} = excluded.${name}`).join(", ")}
  returning 1
),
rollups_emptied as (
  delete from rollups r using rolled
  where r.account_id = $1 and r.bucket = rolled.bucket and r.dimensions_id = rolled.dimensions_id
    and not rolled.is_new and ${isEmpty("rolled")}
  returning 1
)`;

/** Common table expression that writes down what each `dimensions_id` of `dimensioned` stands for. */
export const rememberDimensionsSql = `
dimensions_remembered as (
  insert into dimension_sets (account_id, dimensions_id, ${dimensions.join(", ")})
  select distinct on (dimensions_id) $1, dimensions_id, ${dimensions.join(", ")}
  from dimensioned where sign > 0
  order by dimensions_id
  on conflict do nothing
)`;
