import type { ColumnType } from "./columns.js";

/** Rows that Excel takes in a sheet, its header included. */
export const MAX_SHEET_ROWS = 1_048_576;
export const CREATOR = "WhatsApp analytics";

export const numberFormats: Partial<Record<ColumnType, string>> = {
  timestamp: "yyyy-mm-dd hh:mm:ss",
  integer: "0",
};

const widths: Record<ColumnType, number> = { text: 24, timestamp: 20, integer: 12, number: 12, json: 40 };
const WIDEST = 60;
const FILTER_BUTTON_WIDTH = 3;

/** The formats of cells, in the order in which a workbook's styles have them. */
export const cellFormats = ["text", "header", "timestamp", "integer"] as const;

/** The number of a cell's format; that of text where a type has none of its own. */
export const formatNumber = (name: string): number => Math.max(0, cellFormats.indexOf(name as never));

/** The header of a column: one of times names the zone. */
export const headerOf = ({ name, type }: { name: string; type: ColumnType }, timeZone: string): string =>
  type === "timestamp" ? `${name} (${timeZone})` : name;

/** Wide enough for the header and its filter button; in characters of the default font. */
export const widthOf = (type: ColumnType, header: string): number =>
  Math.min(WIDEST, Math.max(widths[type], header.length + FILTER_BUTTON_WIDTH));

/** `A`, `Z`, `AA` … for 1, 26, 27 … */
export function columnLetters(number: number): string {
  const before = Math.floor((number - 1) / 26);
  return (before > 0 ? columnLetters(before) : "") + String.fromCharCode(65 + ((number - 1) % 26));
}

export const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
