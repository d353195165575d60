import type { ColumnType } from "./columns.js";

const CELL_LENGTH = 32_767;
const ELLIPSIS = "…";
/** Excel counts days from 1900 and believes in a 29 February of that year: earlier dates than this stay text. A day to spare for the zone. */
const FIRST_EXCEL_DATE_MS = Date.UTC(1900, 2, 2);
const LAST_EXCEL_DATE_MS = Date.UTC(9999, 11, 31);

/** Whether a cell can show it as a date. */
export const hasExcelDate = (timeMs: number): boolean =>
  timeMs >= FIRST_EXCEL_DATE_MS && timeMs <= LAST_EXCEL_DATE_MS;

/** What XML 1.0 forbids or reads as something else (CR), and DEL, which exceljs drops by itself. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const UNSAFE = /[\0-\x08\x0b-\x1f\x7f\ufffe\uffff]/g;
/** Excel reads `_x0041_` in a cell as an escaped `A`; escaping the underscore keeps the text what it was. */
const ESCAPE_LOOKALIKE = /_(?=x[0-9A-Fa-f]{4}_)/g;

const escapeCharacter = (character: string): string =>
  `_x${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}_`;

/** Text as a cell can hold it: well-formed, at most 32,767 characters with `…` at a cut, escaped as Excel does. */
export function cellText(value: string): string {
  const whole = value.toWellFormed();
  const kept = whole.length <= CELL_LENGTH ? whole : cut(whole, CELL_LENGTH - ELLIPSIS.length) + ELLIPSIS;
  return kept.replace(ESCAPE_LOOKALIKE, "_x005F_").replace(UNSAFE, escapeCharacter);
}

/** The first `length` UTF-16 units, one less where that would split a surrogate pair. */
const cut = (text: string, length: number): string => text.slice(0, length).replace(/[\ud800-\udbff]$/, "");

/** Text as exceljs writes it inline: it is the one form in which every reader keeps blanks and undoes the escapes. */
export interface TextCell {
  richText: [{ text: string }];
}

export const textCell = (value: string): TextCell => ({ richText: [{ text: cellText(value) }] });

/** exceljs makes formulas and links of some objects, so whatever is not a string becomes one here. */
function asText(value: unknown): TextCell {
  if (typeof value === "string") return textCell(value);
  if (value instanceof Date) return textCell(Number.isNaN(value.getTime()) ? "" : value.toISOString());
  return textCell(typeof value === "object" ? JSON.stringify(value) : String(value));
}

/** Without an offset a time would mean the zone of whichever machine writes the file. */
const INSTANT = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/;

function asDate(value: unknown, wallTime: (timeMs: number) => number): Date | TextCell {
  if (typeof value === "string" && !INSTANT.test(value)) return asText(value);
  const date = value instanceof Date ? value : new Date(value as string | number);
  return hasExcelDate(date.getTime()) ? new Date(wallTime(date.getTime())) : asText(value);
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** Postgres sends bigint and numeric as text. A whole number that a double would round stays text. */
function asNumber(value: unknown): number | TextCell {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  const text = String(value);
  const number = NUMBER.test(text) ? Number(text) : Number.NaN;
  const rounded = Number.isInteger(number) && !Number.isSafeInteger(number);
  return Number.isFinite(number) && !rounded ? number : asText(value);
}

/** Turns the values of one column into what its cells hold: text, numbers, dates or null, and never a formula. */
export function cellWriter(
  type: ColumnType,
  wallTime: (timeMs: number) => number,
): (value: unknown) => TextCell | number | Date | null {
  const asTime = (value: unknown) => asDate(value, wallTime);
  const write = type === "timestamp" ? asTime : type === "integer" || type === "number" ? asNumber : asText;
  return (value) => (value === null || value === undefined ? null : write(value));
}

const SHEET_NAME_LENGTH = 31;
/** Excel keeps this name for itself. */
const RESERVED_SHEET_NAME = "history";

/** Names sheets as Excel allows (31 characters, no `*?:/\[]`, unique whatever the case): `name`, `name 2` … */
export function sheetNames(): (wanted: string) => string {
  const taken = new Set([RESERVED_SHEET_NAME]);
  return (wanted) => {
    const valid = wanted
      .toWellFormed()
      .replace(UNSAFE, "")
      .replace(/[*?:\\/[\]\n\t]/g, " ");
    const clean = valid.replace(/^[' ]+|[' ]+$/g, "") || "Sheet";
    for (let n = 1; ; n++) {
      const suffix = n === 1 ? "" : ` ${n}`;
      const name = cut(clean, SHEET_NAME_LENGTH - suffix.length).replace(/[' ]+$/, "") + suffix;
      if (taken.has(name.toLowerCase())) continue;
      taken.add(name.toLowerCase());
      return name;
    }
  };
}
