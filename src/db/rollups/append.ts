import { rememberSetsSql } from "./apply.js";
import { QUARTER_DELTAS } from "./deltas.js";
import { additiveColumns, allDimensions, deltaGrain, type RollupFamily } from "./family.js";
import { grainColumns } from "./summed.js";

/**
 * Common table expressions that leave `quarter_deltas` for later: whoever reads rollups adds them, and `settleRollups`
 * brings them into both grains. To append costs a fold the same whatever is there already.
 */
export function appendDeltasSql(family: RollupFamily): string {
  const grain = deltaGrain(family);
  const columns = grainColumns(family, grain).join(", ");
  return `
${grain.table}_added as (
  insert into ${grain.table} (account_id, ${columns})
  select $1, ${columns} from ${QUARTER_DELTAS}
  where num_nonnulls(${[...additiveColumns(family), "bins"].join(", ")}) > 0
  order by bucket, dimensions_id
  returning 1
),${rememberSetsSql(
    family,
    `select ${allDimensions(family).mask}, dimensions_id, ${family.dimensions.join(", ")}
  from sets order by dimensions_id`,
  )}`;
}

/** How many rows a statement with these has left for later. */
export const appendedRows = (family: RollupFamily): string =>
  `(select count(*)::integer from ${family.deltas}_added)`;
