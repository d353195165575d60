/**
 * What a column holds, which decides how every format writes it. `timestamp` is a timestamptz, `integer` and `number` are
 * never quoted or neutralised, `json` is embedded as JSON where the format can and is JSON text elsewhere.
 */
export type ColumnType = "text" | "timestamp" | "integer" | "number" | "json";

/** One column of an export. `sql` is a trusted SQL expression, written by our code and never by a caller. */
export interface Column {
  name: string;
  sql: string;
  type: ColumnType;
}

const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** RFC 3339 in UTC with milliseconds, the one form of an instant in every text format. */
export const instant = (sql: string): string =>
  `to_char(${sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

const plain: Record<ColumnType, (sql: string) => string> = {
  text: (sql) => `(${sql})::text COLLATE "C"`,
  timestamp: (sql) => `(${sql})`,
  integer: (sql) => `(${sql})`,
  number: (sql) => `(${sql})`,
  json: (sql) => `(${sql})::jsonb`,
};

/**
 * `SELECT <each column through its formatter> FROM (SELECT <expressions> <fromAndWhere>)`. The inner names are positions,
 * not column names, so that an ORDER BY in `fromAndWhere` means the table's columns and not our formatted text.
 */
export function formattedSelect(
  columns: readonly Column[],
  fromAndWhere: string,
  format: Partial<Record<ColumnType, (sql: string) => string>>,
): string {
  if (columns.length === 0) throw new Error("an export needs at least one column");
  const formatters = { timestamp: instant, ...format };
  const inner = columns.map((column, i) => `${plain[column.type](column.sql)} AS "_${i}"`);
  const outer = columns.map((column, i) => {
    const value = formatters[column.type]?.(`s."_${i}"`) ?? `s."_${i}"`;
    return `${value} AS ${identifier(column.name)}`;
  });
  return `SELECT ${outer.join(", ")} FROM (SELECT ${inner.join(", ")} ${fromAndWhere}) s`;
}
