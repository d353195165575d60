import { Transform } from "node:stream";
import { type Column, type ColumnType, formattedSelect } from "./columns.js";

/**
 * Text that a spreadsheet might run: the first characters that OWASP names (`= + - @`, TAB, CR, LF and the full-width
 * forms), and the same after leading blanks, which some importers trim. One pattern for Postgres and JavaScript: both
 * read it alike, so `-` stands last and there is no `\s`.
 */
const FORMULA_START = String.raw`^(?:[\t\n\r]|[ \v\f\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]*[=+@\uff1d\uff0b\uff0d\uff20-])`;
const formulaStart = new RegExp(FORMULA_START);

/** Most values start with an ASCII letter or digit: two comparisons spare them the regular expression (1.7 x faster). */
const neutralSql = (sql: string): string =>
  `CASE WHEN ${sql} >= '0' AND ${sql} < '=' OR ${sql} >= 'A' AND ${sql} < '\u007f' THEN ${sql} ` +
  `WHEN ${sql} ~ '${FORMULA_START}' THEN '''' || ${sql} ELSE ${sql} END`;

/**
 * The COPY statement for a CSV body with LF row ends and no header: pipe it through `crlfRows` after `csvHeader`.
 * NULL is an empty field, the empty string is `""`. Text columns that look like a formula get a leading `'`; numbers,
 * times and JSON cannot be one and stay untouched. `fromAndWhere` starts with FROM and is trusted SQL.
 */
export function csvCopySql(columns: readonly Column[], fromAndWhere: string): string {
  return `COPY (${formattedSelect(columns, fromAndWhere, { text: neutralSql })}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')`;
}

const quote = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** The header line of `columns`, CRLF included. */
export function csvHeader(columns: readonly Pick<Column, "name">[]): string {
  return `${columns.map((column) => quote(column.name)).join(",")}\r\n`;
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function csvCell(value: string | number | null, type: ColumnType): string {
  if (value === null) return "";
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  if (value === "") return '""';
  const numeric = type !== "text" && NUMBER.test(value);
  return quote(!numeric && formulaStart.test(value) ? `'${value}` : value);
}

/** One row of a small CSV built in JavaScript, CRLF included, with the rules of `csvCopySql`. NaN is an empty field. */
export function csvLine(values: readonly (string | number | null)[], types: readonly ColumnType[]): string {
  return `${values.map((value, i) => csvCell(value, types[i] ?? "text")).join(",")}\r\n`;
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
