import { CompiledQuery, sql } from "kysely";
import type { Column } from "../../exports/columns.js";
import type { Db } from "../client.js";
import type { Rows } from "../datasets/dataset.js";
import type { Dimension } from "../rollups/messages.js";
import type { RunKind } from "../schema.js";

/** What the planner expects of a statement. */
export interface PlannedRows {
  rows: number;
  /** Bytes of a row as PostgreSQL holds it. */
  width: number;
}

interface Explained {
  "QUERY PLAN": { Plan: { "Plan Rows": number; "Plan Width": number } }[];
}

/** Plans a statement and runs nothing of it. */
async function explain(db: Db, statement: string): Promise<PlannedRows> {
  const { rows } = await db.executeQuery<Explained>(CompiledQuery.raw(`explain (format json) ${statement}`));
  const plan = rows[0]!["QUERY PLAN"][0]!.Plan;
  return { rows: plan["Plan Rows"], width: plan["Plan Width"] };
}

/** Rows of a dataset, with these columns. */
export const plannedRows = (db: Db, rows: Rows, columns: readonly Column[]): Promise<PlannedRows> =>
  explain(db, `select ${columns.map((column) => column.sql).join(", ")} ${rows.from({ ordered: true })}`);

/** How many different known values a dimension has among messages. */
export async function plannedValues(db: Db, messages: Rows, dimension: Dimension): Promise<number> {
  const known = `${messages.from({ ordered: false })} and m.${dimension} is not null`;
  return (await explain(db, `select m.${dimension} ${known} group by 1`)).rows;
}

/** Runs that tell how fast an account's work goes. */
const RECENT_RUNS = 20;

/** Rows a second of an account's recent runs of a kind; undefined when there are none that tell. */
export async function recentSpeed(db: Db, accountId: string, kind: RunKind): Promise<number | undefined> {
  const { rows } = await sql<{ speed: number | null }>`
    select sum(progress_rows) / nullif(sum(extract(epoch from finished_at - started_at)), 0)::float8 as speed
    from (
      select progress_rows, started_at, finished_at, status from runs
      where account_id = ${accountId} and kind = ${kind}
      order by created_at desc, run_id desc
      limit ${RECENT_RUNS}
    ) recent
    where status = 'succeeded' and progress_rows > 0`.execute(db);
  return rows[0]?.speed ?? undefined;
}
