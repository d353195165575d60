import type { Column, ColumnType } from "./columns.js";

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
 * taking one `'` from every cell that matches gives the text back.
 */
const FORMULA = /^'*(?:[\t\n\r]|[\s\u200b-\u200d\u2060]*[=+@\uff1d\uff0b\uff0d\uff20-])/;

export const isFormula = (text: string): boolean => FORMULA.test(text);

/** By the first byte of a text in UTF-8: 0 where it cannot be a formula, which most texts need no more than. */
export const startsLikeFormula = new Uint8Array(256);
for (const start of "'\t\n\v\f\r =+@-\u00a0\u1680\u2000\u3000\ufeff")
  startsLikeFormula[Buffer.from(start)[0]!] = 1;

/** A text that is one of these is quoted: it would be read as NULL, or, alone in its line, by PostgreSQL as the end. */
export const reservedTexts = (options: CsvOptions): readonly string[] => [options.null, "\\."];

const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;

function field(text: string, options: CsvOptions): string {
  const isPlain = !/["\r\n]/.test(text) && !text.includes(options.delimiter);
  return isPlain && !reservedTexts(options).includes(text) ? text : quote(text);
}

/** What stands before the rows: the byte order mark and the header line, as far as the options want them. */
export function csvHead(columns: readonly Pick<Column, "name">[], options: CsvOptions = defaultCsv): string {
  const names = columns.map((column) => field(column.name, options));
  return (options.bom ? "\ufeff" : "") + (options.header ? `${names.join(options.delimiter)}\r\n` : "");
}

/** What stood in a text cell before it was guarded. */
export const unguarded = (cell: string): string =>
  cell.startsWith("'") && isFormula(cell) ? cell.slice(1) : cell;

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function csvCell(value: string | number | null, type: ColumnType, options: CsvOptions): string {
  if (value === null) return options.null;
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : options.null;
  const guarded = options.formula_guard && (type === "text" || !NUMBER.test(value));
  return field(guarded && isFormula(value) ? `'${value}` : value, options);
}

/** One row of a small CSV built in JavaScript, CRLF included, as `csvRows` writes it. NaN counts as NULL. */
export function csvLine(
  values: readonly (string | number | null)[],
  types: readonly ColumnType[],
  options: CsvOptions = defaultCsv,
): string {
  const cells = values.map((value, i) => csvCell(value, types[i] ?? "text", options));
  return `${cells.join(options.delimiter)}\r\n`;
}
