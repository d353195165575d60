import { Transform } from "node:stream";
import { type Column, type ColumnType, formattedSelect } from "./columns.js";

export const csvDelimiters = [",", ";", "\t", "|"] as const;
/** How NULL is written; a text that reads the same is quoted. */
export const csvNulls = ["", "\\N", "NULL"] as const;

/** How a CSV file is written, in the words of a request. */
export interface CsvOptions {
  delimiter: (typeof csvDelimiters)[number];
  /** Begin with a byte order mark, from which Excel knows UTF-8. */
  bom: boolean;
  null: (typeof csvNulls)[number];
  header: boolean;
  /** Put `'` before text that a spreadsheet might run. */
  formula_guard: boolean;
}

export const defaultCsv: CsvOptions = {
  delimiter: ",",
  bom: false,
  null: "",
  header: true,
  formula_guard: true,
};

/**
 * Text that a spreadsheet might run: the first characters that OWASP names (`= + - @`, TAB, CR, LF and the full-width
 * forms), and the same after leading blanks, which some importers trim. Such text behind `'` counts as well, so that
 * taking one `'` from every cell that matches gives the text back. One pattern for Postgres and JavaScript: both read
 * it alike, so `-` stands last and there is no `\s`.
 */
const FORMULA_START = String.raw`^'*(?:[\t\n\r]|[ \v\f\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]*[=+@\uff1d\uff0b\uff0d\uff20-])`;
const formulaStart = new RegExp(FORMULA_START);

/** Most values start with an ASCII letter or digit: two comparisons spare them the regular expression (1.7 x faster). */
const neutralSql = (sql: string): string =>
  `CASE WHEN ${sql} >= '0' AND ${sql} < '=' OR ${sql} >= 'A' AND ${sql} < '\u007f' THEN ${sql} ` +
  `WHEN ${sql} ~ '${FORMULA_START.replaceAll("'", "''")}' THEN '''' || ${sql} ELSE ${sql} END`;

/**
 * The COPY statement for a CSV body with LF row ends and no header: pipe it through `crlfRows` after `csvHead`. Text
 * columns that look like a formula get a leading `'`, unless the options say otherwise; numbers, times and JSON cannot
 * be one and stay untouched. Where NULL is an empty field, the empty string is `""`. `fromAndWhere` starts with FROM
 * and is trusted SQL.
 */
export function csvCopySql(
  columns: readonly Column[],
  fromAndWhere: string,
  options: CsvOptions = defaultCsv,
): string {
  const rows = formattedSelect(columns, fromAndWhere, options.formula_guard ? { text: neutralSql } : {});
  return `COPY (${rows}) TO STDOUT (FORMAT csv, DELIMITER '${options.delimiter}', NULL '${options.null}', ENCODING 'UTF8')`;
}

const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;

function field(text: string, { delimiter, null: nullText }: CsvOptions): string {
  return text === nullText || text.includes(delimiter) || /["\r\n]/.test(text) ? quote(text) : text;
}

/** What stands before the rows: the byte order mark and the header line, as far as the options want them. */
export function csvHead(columns: readonly Pick<Column, "name">[], options: CsvOptions = defaultCsv): string {
  const names = columns.map((column) => field(column.name, options));
  return (options.bom ? "\ufeff" : "") + (options.header ? `${names.join(options.delimiter)}\r\n` : "");
}

/** What stood in a text cell before it was guarded. */
export const unguarded = (cell: string): string =>
  cell.startsWith("'") && formulaStart.test(cell) ? cell.slice(1) : cell;

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function csvCell(value: string | number | null, type: ColumnType, options: CsvOptions): string {
  if (value === null) return options.null;
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : options.null;
  const guarded = options.formula_guard && (type === "text" || !NUMBER.test(value));
  return field(guarded && formulaStart.test(value) ? `'${value}` : value, options);
}

/** One row of a small CSV built in JavaScript, CRLF included, with the rules of `csvCopySql`. NaN counts as NULL. */
export function csvLine(
  values: readonly (string | number | null)[],
  types: readonly ColumnType[],
  options: CsvOptions = defaultCsv,
): string {
  const cells = values.map((value, i) => csvCell(value, types[i] ?? "text", options));
  return `${cells.join(options.delimiter)}\r\n`;
}

/**
 * Turns the LF row ends of COPY's CSV into CRLF and counts them; line breaks inside quoted fields stay as they are.
 * `rows()` is the number of rows so far. Bytes in, the same bytes out: latin1 maps each byte to one character and back,
 * and every byte of a multi-byte UTF-8 character is above 0x7f, so none is taken for a quote or a line end.
 */
export function crlfRows(): Transform & { rows(): number } {
  // A doubled quote toggles twice, so parity is all the state there is, wherever a chunk ends.
  let quoted = false;
  let rows = 0;

  function convert(text: string): string {
    let quote = text.indexOf('"');
    if (quote === -1) return quoted ? text : text.replaceAll("\n", "\r\n");
    const parts: string[] = [];
    let from = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", end + 1)) {
      for (; quote !== -1 && quote < end; quote = text.indexOf('"', quote + 1)) quoted = !quoted;
      if (quoted) continue;
      parts.push(text.slice(from, end));
      from = end + 1;
    }
    for (; quote !== -1; quote = text.indexOf('"', quote + 1)) quoted = !quoted;
    parts.push(text.slice(from));
    return parts.join("\r\n");
  }

  const transform = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const text = convert(chunk.toString("latin1"));
      rows += text.length - chunk.length;
      done(null, Buffer.from(text, "latin1"));
    },
  });
  return Object.assign(transform, { rows: () => rows });
}
