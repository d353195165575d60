import { additiveColumns, type Grain, type RollupFamily } from "./family.js";

const columnType = (family: RollupFamily, column: string) =>
  family.counters.includes(column) ? "integer" : "bigint";

/** The columns of a grain after the account. */
export const grainColumns = (family: RollupFamily, { keys }: Grain): string[] => [
  ...keys,
  ...additiveColumns(family),
  "bins",
  "counts",
];

/** Sums of columns under their own names, null where they come to nothing. */
export const summedColumns = (family: RollupFamily, columns: readonly string[]): string =>
  columns
    .map((name) => `nullif(sum(${name}), 0)::${columnType(family, name)} as ${name}`)
    .join(",\n           ");

/** Bins with their counts `n`, in ascending order: readers take the range of one duration out of them. */
export const binArrays = (bin: string, filter = ""): string =>
  `array_agg(${bin} order by ${bin})${filter} as bins, array_agg(n order by ${bin})${filter} as counts`;

/** A query that adds up the rows of one key, bin by bin; keys whose rows cancel out are left out. */
export function summedSql(family: RollupFamily, { keys }: Pick<Grain, "keys">, relation: string): string {
  const columns = additiveColumns(family);
  const key = keys.join(", ");
  return `
  select ${key}, ${[...columns, "bins", "counts"].join(", ")}
  from (
    select ${key},
           ${summedColumns(family, columns)}
    from ${relation} group by ${key}
  ) added
  left join (
    select ${key}, ${binArrays("bin")}
    from (
      select ${key}, bin, sum(n)::integer as n
      from ${relation} cross join lateral unnest(bins, counts) as held(bin, n)
      group by ${key}, bin having sum(n) <> 0
    ) merged
    group by ${key}
  ) binned using (${key})
  where num_nonnulls(${[...columns, "bins"].join(", ")}) > 0`;
}

/** The columns of a grain with every number turned around. */
export const negatedColumns = (family: RollupFamily, { keys }: Grain): string[] => [
  ...keys,
  ...additiveColumns(family).map((name) => `-${name}`),
  "bins",
  "(select array_agg(-n order by place) from unnest(counts) with ordinality as held(n, place))",
];
