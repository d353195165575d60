export interface DriftScope {
  /** Buckets from here on, on 15 minutes; undefined = from the first. */
  from?: Date | undefined;
  /** Buckets before this. */
  to?: Date | undefined;
  /** Only the days of this zone; otherwise those of all zones that are built and in use, and the quarters. */
  zoneId?: number | undefined;
}

/**
 * Conditions on the rows of each grain. Parameters: `$1` account, `$2` and `$3` the range of buckets. Whole days are
 * compared, those at its edges too.
 */
export function within({ zoneId }: DriftScope): { quarters: string; days: string } {
  const zones = `from account_zones where account_id = $1 and retired_at is null
        and ${zoneId === undefined ? "built_at is not null" : `zone_id = ${Number(zoneId)}`}`;
  return {
    quarters:
      zoneId === undefined
        ? `bucket >= $2::timestamptz and bucket < $3::timestamptz
      and bucket >= coalesce((select quarters_from from accounts where account_id = $1), '-infinity')`
        : "$2::timestamptz > $3::timestamptz",
    days: `zone_id in (select zone_id ${zones})
      and day >= (select min(($2::timestamptz at time zone time_zone)::date) ${zones})
      and day <= (select max((($3::timestamptz - interval '1 microsecond') at time zone time_zone)::date) ${zones})`,
  };
}

export const bounds = ({ from, to }: DriftScope) => [from ?? "-infinity", to ?? "infinity"];
