const PRESENCE_KEYS = ["zone_id", "period", "contact_id", "starts"] as const;
const COHORT_KEYS = ["zone_id", "period", "starts", "first"] as const;

/** A table of counts: its key after the account, and the column that counts. */
export interface Counts {
  table: string;
  keys: readonly string[];
  count: string;
  /** What the key stands for. */
  told?: readonly string[];
  /** Its column `frozen` says how much of the count is of what is gone: a row with any stays. */
  freezes?: true;
}

export const presenceCounts: Counts = {
  table: "contact_presence",
  keys: PRESENCE_KEYS,
  count: "messages",
  freezes: true,
};
export const cohortCounts: Counts = { table: "contact_cohorts", keys: COHORT_KEYS, count: "contacts" };

/**
 * Common table expression for whoever removes old messages of account `$1`, in the same statement or transaction and
 * under the fold lock: what they came to stays counted, and is expected without them. `deltas` as `presenceDeltasSql` gives
 * them for the removed states, with sign 1.
 */
export const freezePresenceSql = (deltas: string): string => `
presence_frozen as (
  update contact_presence p set frozen = p.frozen + d.n
  from ${deltas} d
  where p.account_id = $1 and ${PRESENCE_KEYS.map((key) => `p.${key} = d.${key}`).join(" and ")}
)`;

/**
 * Common table expressions that add differences of presence (`zone_id, period, contact_id, starts, n`) for account
 * `$1`, and to the cohorts what that makes of them. The caller holds the account's fold lock, so what is read here
 * cannot change before it is written.
 *
 * Cohorts are a function of presence: what is written to them is its value after less its value before, for the contacts
 * that come or go in any period. So whatever the tables held before, this adds no drift to them.
 *
 * Cost: an index probe per row and per contact of a period. Nothing more for a contact that was there earlier. Only where
 * the first period of a contact changes, all its rows of that kind of period change their cohort.
 */
export function applyPresenceSql(deltas: string): string {
  return `${addCountsSql(presenceCounts, deltas)},
presence_turned as materialized (
  select zone_id, period, contact_id, starts, total > 0 as is_there
  from contact_presence_added where (total > 0) <> (held > 0)
),
presence_firsts as materialized (
  select c.*, o.starts as old_first, least(s.starts, c.comes) as new_first
  from (
    select zone_id, period, contact_id, min(starts) filter (where is_there) as comes,
           coalesce(array_agg(starts) filter (where not is_there), '{}') as goes
    from presence_turned group by zone_id, period, contact_id
  ) c
  left join lateral (${heldSql("c", "", "order by starts limit 1")}) o on true
  left join lateral (${heldSql("c", "and starts <> all(c.goes)", "order by starts limit 1")}) s on true
),
cohort_deltas as (
  select zone_id, period, starts, first, sum(n)::integer as n
  from (
    select zone_id, period, starts, case when is_there then new_first else old_first end as first,
           case when is_there then 1 else -1 end as n
    from presence_turned join presence_firsts using (zone_id, period, contact_id)
    union all
    select f.zone_id, f.period, stays.starts, unnest(array[f.old_first, f.new_first]), unnest(array[-1, 1])
    from presence_firsts f
    cross join lateral (${heldSql("f", "and starts <> all(f.goes)", "offset 0")}) stays
    where f.old_first <> f.new_first
  ) moves
  group by zone_id, period, starts, first having sum(n) <> 0
),${addCountsSql(cohortCounts, "cohort_deltas")}`;
}

/** Periods in which a contact was there before this statement. */
const heldSql = (contact: string, condition: string, end: string) => `
    select starts from contact_presence
    where account_id = $1 and zone_id = ${contact}.zone_id and period = ${contact}.period
      and contact_id = ${contact}.contact_id and messages > 0 ${condition} ${end}
  `;

/** Adds `n` of every row of `deltas` to a count. `<table>_added` has the count before (`held`) and after (`total`). */
export function addCountsSql({ table, keys, count, freezes }: Counts, deltas: string): string {
  const key = keys.join(", ");
  const frozen = freezes ? "frozen" : "0 as frozen";
  const matches = ["r.account_id = $1", ...keys.map((one) => `r.${one} = d.${one}`)].join(" and ");
  return `
${table}_added as materialized (
  select ${keys.map((one) => `d.${one}`).join(", ")}, coalesce(o.${count}, 0) as held, coalesce(o.${count}, 0) + d.n as total,
         coalesce(o.frozen, 0) as frozen, o.held_ctid
  from ${deltas} d
  left join lateral (select ctid as held_ctid, ${count}, ${frozen} from ${table} r where ${matches} limit 1) o on true
),
${table}_upserted as (
  insert into ${table} (account_id, ${key}, ${count})
  select $1, ${key}, total from ${table}_added where total <> 0 or frozen <> 0
  order by ${key}
  on conflict (account_id, ${key}) do update set ${count} = excluded.${count}
),
${table}_emptied as (
  delete from ${table} where account_id = $1 and ctid = any(array(
    select held_ctid from ${table}_added where total = 0 and held <> 0 and frozen = 0
  ))
)`;
}
