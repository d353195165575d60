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
