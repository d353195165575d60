import type { PlannedComparison } from "../../analytics/report-templates/plan-sections.js";
import type { Db } from "../../db/client.js";
import { type MetricsRow, readMetrics } from "../../db/queries/read-metrics.js";
import {
  described,
  type ReadOptions,
  type ReadReport,
  type ValueColumn,
  valueColumn,
} from "./section-table.js";

export const PERIODS = ["current", "previous", "change"] as const;

/** A row for the range, one for that before it, and one for what has changed. */
export async function readComparison(
  db: Db,
  planned: PlannedComparison,
  options: ReadOptions,
): Promise<ReadReport> {
  const { section, plan, previous } = planned;
  const now = await readMetrics(db, plan, options);
  const before = previous && (await readMetrics(db, previous.plan, options));
  const values = section.metrics.map((id) => valueColumn(id, section.titles?.[id]));
  const [current, earlier] = [now.totals[0] ?? {}, before?.totals[0] ?? {}];
  const rowOf = (period: (typeof PERIODS)[number], value: (column: ValueColumn) => number | null) => ({
    period,
    ...Object.fromEntries(values.map((column) => [column.name, value(column)])),
  });
  const known = (row: MetricsRow, { name }: ValueColumn) => (row[name] ?? null) as number | null;
  return {
    tables: [
      {
        ...described(planned),
        comparedWith: previous && {
          from: previous.range.from.toISOString(),
          to: previous.range.to.toISOString(),
        },
        keys: [{ name: "period", title: "Period", type: "text" }],
        values,
        rows: [
          rowOf("current", (column) => known(current, column)),
          rowOf("previous", (column) => known(earlier, column)),
          rowOf("change", (column) => changeOf(column, known(current, column), known(earlier, column))),
        ],
      },
    ],
    asOf: before && before.as_of < now.as_of ? before.as_of : now.as_of,
  };
}

/** Of ratios the difference; of everything else the part by which it has grown. */
function changeOf({ unit }: ValueColumn, current: number | null, previous: number | null): number | null {
  if (current === null || previous === null) return null;
  if (unit === "ratio") return current - previous;
  return previous === 0 ? null : (current - previous) / previous;
}
