import { CompiledQuery, type Kysely, type Transaction } from "kysely";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";
import { keptSetsSql } from "./apply.js";
import { DAY_DELTAS, dayDeltasSql, QUARTER_DELTAS } from "./deltas.js";
import { bounds, type DriftScope, within } from "./drift-scope.js";
import { driftGrains, driftTable, metTable, sumTable } from "./drift-tables.js";
import {
  allDimensions,
  dayGrain,
  deltaGrain,
  type Grain,
  quarterGrain,
  type RollupFamily,
} from "./family.js";
import type { RolledUp, RollupSource } from "./rolled-up.js";
import { grainColumns, negatedColumns, summedSql } from "./summed.js";

/** Rows read by one statement: a fraction of a second. */
const CHUNK_ROWS = 5_000;

type Trx = Transaction<Database>;

export async function countRows(db: Kysely<Database>, accountId: string, table: string): Promise<number> {
  const text = `select count(*) as rows from ${table} where account_id = $1`;
  const { rows } = await db.executeQuery<{ rows: number }>(CompiledQuery.raw(text, [accountId]));
  return rows[0]!.rows;
}

/**
 * Adds up what the next rows of a source contribute; those without a key contribute nothing. Rows of one key stay
 * together. `last`: where the next ones begin, null when there were none.
 */
export async function addSource(
  trx: Trx,
  accountId: string,
  family: RollupFamily,
  source: RollupSource,
  scope: DriftScope,
  after: string | undefined,
): Promise<{ rows: number; last: string | null }> {
  const { quarters, days } = within(scope);
  const names = source.keys.map(({ name }) => name).join(", ");
  const bound = source.keys.map(({ type }, index) => `($4::jsonb ->> ${index})::${type}`).join(", ");
  const add = (grain: Grain, deltas: string, condition: string) => {
    const columns = grainColumns(family, grain).join(", ");
    return `${grain.table}_added as (
  insert into ${sumTable(grain)} (${columns}) select ${columns} from ${deltas} where ${condition}
)`;
  };
  const sets = `grouping, dimensions_id, ${family.dimensions.join(", ")}`;
  const text = `
with chunk as materialized (
  select ${[...new Set([...source.keys.map(({ name }) => name), ...source.columns])].join(", ")}
  from ${source.table}
  where account_id = $1 and (${names}) ${after === undefined ? ">=" : ">"} (${bound})
  order by ${names} fetch first ${CHUNK_ROWS} rows with ties
),
${source.deltas("chunk")},${dayDeltasSql(family, QUARTER_DELTAS, "sets")},
${add(quarterGrain(family), QUARTER_DELTAS, quarters)},
${add(dayGrain(family), DAY_DELTAS, days)},
met as (insert into ${metTable(family)} (${sets}) ${keptSetsSql(family)})
select count(*) as rows, (
    select jsonb_build_array(${names})::text from chunk
    order by ${source.keys.map(({ name }) => `${name} desc`).join(", ")} limit 1
  ) as last
from chunk`;
  const first = JSON.stringify(source.keys.map((one) => one.first));
  const parameters = [accountId, ...bounds(scope), after ?? first];
  return (await trx.executeQuery<{ rows: number; last: string | null }>(CompiledQuery.raw(text, parameters)))
    .rows[0]!;
}

/** Adds what removed rows contributed, and takes off what the rollups say and what waits to be added to them. */
export async function addHeldRows(
  trx: Trx,
  accountId: string,
  { family, frozen }: RolledUp,
  scope: DriftScope,
): Promise<void> {
  const conditions = within(scope);
  for (const { grain, frozenTable, condition } of [
    { grain: quarterGrain(family), frozenTable: frozen?.quarters, condition: conditions.quarters },
    { grain: dayGrain(family), frozenTable: frozen?.days, condition: conditions.days },
  ]) {
    const columns = grainColumns(family, grain).join(", ");
    const rows = (shown: string, table: string) =>
      `select ${shown} from ${table} where account_id = $1 and ${condition}`;
    const text = `
insert into ${sumTable(grain)} (${columns})
${[
  rows(negatedColumns(family, grain).join(", "), grain.table),
  ...(frozenTable ? [rows(columns, frozenTable)] : []),
].join("\nunion all\n")}`;
    await trx.executeQuery(CompiledQuery.raw(text, [accountId, ...bounds(scope)]));
  }
  const waiting = deltaGrain(family);
  const text = `
with waiting as materialized (select * from ${waiting.table} where account_id = $1),
met as materialized (
  select * from ${family.sets} where account_id = $1 and grouping = ${allDimensions(family).mask}
    and dimensions_id in (select dimensions_id from waiting)
),${dayDeltasSql(family, "waiting", "met")},
quarters_added as (
  insert into ${sumTable(quarterGrain(family))} (${grainColumns(family, waiting).join(", ")})
  select ${negatedColumns(family, waiting).join(", ")} from waiting where ${conditions.quarters}
)
insert into ${sumTable(dayGrain(family))} (${grainColumns(family, dayGrain(family)).join(", ")})
select ${negatedColumns(family, dayGrain(family)).join(", ")} from ${DAY_DELTAS} where ${conditions.days}`;
  await trx.executeQuery(CompiledQuery.raw(text, [accountId, ...bounds(scope)]));
}

/** Writes down what is left when everything is added up. Returns how many rows differ. */
export async function keepDifferences(session: Db): Promise<number> {
  let different = 0;
  for (const { family, grain } of driftGrains) {
    const text = `
insert into ${driftTable(grain)} (${grainColumns(family, grain).join(", ")})
${summedSql(family, grain, sumTable(grain))}`;
    different += Number((await session.executeQuery(CompiledQuery.raw(text, []))).numAffectedRows ?? 0);
  }
  return different;
}
