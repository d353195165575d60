import pg from "pg";
import type { ColumnType } from "../../exports/columns.js";
import type { Rows } from "./dataset.js";

export interface JsonColumn {
  name: string;
  type: Exclude<ColumnType, "json">;
}

const sqlTypes: Record<JsonColumn["type"], string> = {
  text: "text",
  timestamp: "timestamptz",
  integer: "int8",
  number: "float8",
};

/** Rows that are there already, few enough for one statement, in their order. */
export function rowsOfJson(
  columns: readonly JsonColumn[],
  values: readonly Readonly<Record<string, unknown>>[],
): Rows {
  const json = pg.escapeLiteral(
    JSON.stringify(values.map((row) => columns.map(({ name }) => row[name] ?? null))),
  );
  const columnOf = ({ name, type }: JsonColumn, index: number) => ({
    name,
    type,
    sql: `(j.row ->> ${index})::${sqlTypes[type]}`,
  });
  return {
    columns: columns.map(columnOf),
    key: undefined,
    from: ({ ordered }) =>
      `from jsonb_array_elements(${json}::jsonb) with ordinality as j(row, n)${ordered ? " order by j.n" : ""}`,
  };
}
