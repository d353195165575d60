import { QUARTER_DELTAS } from "./deltas.js";
import { additiveColumns, type Grain, groupingsOf, type RollupFamily } from "./family.js";
import { binArrays } from "./summed.js";

/** The differences of quarters that the account keeps. */
export const keptQuartersSql = `(select * from ${QUARTER_DELTAS}
        where bucket >= coalesce((select quarters_from from accounts where account_id = $1), '-infinity'))`;

/** Bins of the row we have and of what is added: where there are both, bin by bin. */
const pickBins = (column: "bins" | "counts") =>
  `case when met.bins is null then held_${column} when held_bins is null then met.${column} else merged.${column} end as ${column}`;

/**
 * Common table expressions that add differences to one grain of account `$1`. Zero is stored as null, which takes no
 * room, and rows that come to nothing are removed. The caller holds the account's fold lock, so what is read here cannot
 * change before it is written.
 */
export function applyGrainSql(family: RollupFamily, { table, keys }: Grain, deltas: string): string {
  const columns = additiveColumns(family);
  const key = keys.join(", ");
  const matches = (row: string, other: string) =>
    [`${row}.account_id = $1`, ...keys.map((one) => `${row}.${one} = ${other}.${one}`)].join(" and ");
  const isEmpty = `num_nonnulls(${[...columns, "bins"].map((one) => `rolled.${one}`).join(", ")}) = 0`;
  const held = [...columns, "bins", "counts"];
  return `
${table}_met as materialized (
  select row_number() over () as row_no, d.*, o.ctid as held, ${held.map((one) => `o.${one} as held_${one}`).join(", ")}
  from ${deltas} d
  left join lateral (select r.ctid, r.* from ${table} r where ${matches("r", "d")} limit 1) o on true
  where num_nonnulls(${[...columns, "bins"].map((one) => `d.${one}`).join(", ")}) > 0
),
${table}_merged as (
  select row_no, ${binArrays("bin")}
  from (
    select row_no, bin, sum(n)::integer as n
    from (
      select row_no, unnest(bins) as bin, unnest(counts) as n from ${table}_met where held_bins is not null and bins is not null
      union all
      select row_no, unnest(held_bins), unnest(held_counts) from ${table}_met where held_bins is not null and bins is not null
    ) parts
    group by row_no, bin having sum(n) <> 0
  ) each_bin
  group by row_no
),
${table}_rolled as materialized (
  select ${keys.join(", ")}, held,
         ${columns.map((one) => `nullif(coalesce(${one}, 0) + coalesce(held_${one}, 0), 0) as ${one}`).join(",\n         ")},
         ${pickBins("bins")},
         ${pickBins("counts")}
  from ${table}_met met left join ${table}_merged merged using (row_no)
),
${table}_upserted as (
  insert into ${table} (account_id, ${[...keys, ...columns].join(", ")}, bins, counts)
  select $1, ${[...keys, ...columns].join(", ")}, bins, counts
  from ${table}_rolled rolled where not (${isEmpty})
  order by ${key}
  on conflict (account_id, ${key}) do update set
    ${[...columns, "bins", "counts"].map((one) => `${one} = excluded.${one}`).join(", ")}
  returning 1
),
${table}_emptied as (
  delete from ${table}
  where account_id = $1 and ctid = any(array(select held from ${table}_rolled rolled where held is not null and ${isEmpty}))
  returning 1
)`;
}

/** What each combination met stands for, in every grouping that leaves something of it; `sets` has them all apart. */
export function keptSetsSql(family: RollupFamily, sets = "sets"): string {
  const kept = family.dimensions.map((name) => {
    const masks = groupingsOf(family)
      .filter(({ dimensions }) => dimensions.includes(name))
      .map(({ mask }) => mask);
    return `case when members.grouping in (${masks.join(", ")}) then sets.${name} end`;
  });
  return `select distinct on (grouping, set_id) grouping, set_id, ${kept.join(", ")}
  from members join ${sets} sets using (dimensions_id)
  where members.grouping > 0
  order by grouping, set_id`;
}

/** A common table expression that writes down what combinations stand for, for good: rows of `keptSetsSql`. */
export function rememberSetsSql(family: RollupFamily, kept: string): string {
  const columns = `grouping, dimensions_id, ${family.dimensions.join(", ")}`;
  return `
${family.sets}_remembered as (
  insert into ${family.sets} (account_id, ${columns})
  select $1, met.* from (
  ${kept}
  ) met
  on conflict do nothing
)`;
}
