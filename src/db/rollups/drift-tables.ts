import { sql } from "kysely";
import type { Db } from "../client.js";
import { dayGrain, type Grain, quarterGrain, type RollupFamily } from "./family.js";
import { rolledUp } from "./rolled-up.js";
import { grainColumns } from "./summed.js";

/** Both grains of every family. */
export const driftGrains: readonly { family: RollupFamily; grain: Grain }[] = rolledUp.flatMap(({ family }) =>
  [quarterGrain(family), dayGrain(family)].map((grain) => ({ family, grain })),
);

/** Tables of the session: what is added up, what differs in the end, and what the combinations met stand for. */
export const sumTable = ({ table }: Grain) => `pg_temp.${table}_sum`;
export const driftTable = ({ table }: Grain) => `pg_temp.${table}_drift`;
export const metTable = ({ sets }: RollupFamily) => `pg_temp.${sets}_met`;
export const flowSumTable = "pg_temp.flow_edges_sum";
export const flowDriftTable = "pg_temp.flow_edges_drift";

const tables = [
  ...driftGrains.flatMap(({ family, grain }) =>
    [sumTable(grain), driftTable(grain)].map((name) => ({
      name,
      rows: `select ${grainColumns(family, grain).join(", ")} from ${grain.table}`,
    })),
  ),
  ...[flowSumTable, flowDriftTable].map((name) => ({
    name,
    rows: "select zone_id, day, edge_id, position, from_step, to_step, conversations as n from flow_edges",
  })),
  ...rolledUp.map(({ family }) => ({
    name: metTable(family),
    rows: `select grouping, dimensions_id, ${family.dimensions.join(", ")} from ${family.sets}`,
  })),
];

const dropSql = `drop table if exists ${tables.map(({ name }) => name).join(", ")}`;
const openSql = [dropSql, ...tables.map(({ name, rows }) => `create table ${name} as ${rows} with no data`)];

export async function openDrift(session: Db): Promise<void> {
  await sql.raw(openSql.join(";")).execute(session);
}

export async function dropDrift(session: Db): Promise<void> {
  await sql.raw(dropSql).execute(session);
}
