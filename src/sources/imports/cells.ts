import { localToUtc, wallMs } from "./local-time.js";

/** What a column holds, which decides how its cells are read. */
export type CellKind = "text" | "word" | "time" | "integer" | "boolean" | "list" | "json";

export interface CellOptions {
  timeZone: string | undefined;
  /** How an absent value is written, besides an empty cell. */
  null: string;
  /** Undoes what a writer did to cells that a spreadsheet might run. */
  plain: (cell: string) => string;
}

/** A cell that cannot be read as what its column holds. */
export interface CellProblem {
  code: string;
  message: string;
}

export type CellReading = { value: unknown } | { problem: CellProblem } | undefined;

const refused = (code: string, message: string): CellReading => ({ problem: { code, message } });

/** The value of a cell, why it has none, or undefined for one that is empty. */
export function readCell(cell: string, kind: CellKind, options: CellOptions): CellReading {
  if (cell === "" || cell === options.null) return undefined;
  if (kind === "text") return { value: options.plain(cell) };
  const text = cell.trim();
  if (text === "") return undefined;
  return readers[kind](text, options);
}

const readers: Record<Exclude<CellKind, "text">, (text: string, options: CellOptions) => CellReading> = {
  word: (text) => ({ value: text.toLowerCase() }),
  time: (text, { timeZone }) => readTime(text, timeZone),
  integer: (text) =>
    /^-?\d{1,15}$/.test(text) ? { value: Number(text) } : refused("invalid_value", "must be a whole number"),
  boolean: (text) => {
    if (/^(true|t|1|yes)$/i.test(text)) return { value: true };
    if (/^(false|f|0|no)$/i.test(text)) return { value: false };
    return refused("invalid_value", "must be true or false");
  },
  list: (text) =>
    text.startsWith("[") || text.startsWith("{") ? readListText(text) : { value: split(text) },
  json: (text) => readJson(text),
};

function readJson(text: string): CellReading {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return refused("invalid_json", "is not valid JSON");
  }
}

const split = (text: string): string[] => text.split("|").filter((part) => part !== "");

/** A JSON list, or PostgreSQL's notation of one whose elements need no quotes. */
function readListText(text: string): CellReading {
  if (text.startsWith("[")) return readJson(text);
  const inner = /^\{([^"\\{}]*)\}$/.exec(text)?.[1];
  if (inner === undefined) return refused("invalid_value", "must be a JSON list, or texts separated by |");
  return { value: inner === "" ? [] : inner.split(",") };
}

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d\d(?::?\d\d)?)?$/i;
const UNIX = /^(\d{10})(\d{3})?$/;

/** RFC 3339 UTC of ISO 8601 with or without offset, or Unix seconds or milliseconds. */
export function readTime(text: string, timeZone: string | undefined): CellReading {
  const unix = UNIX.exec(text);
  if (unix) return { value: new Date(Number(unix[1]) * 1000 + Number(unix[2] ?? 0)).toISOString() };
  const parts = ISO.exec(text);
  if (!parts) return refused("invalid_time", "must look like 2026-03-01T09:30:00Z or 2026-03-01 09:30:00");
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part) => Number(part ?? 0));
  const wall = wallMs({
    ...{ year: year!, month: month!, day: day!, hour: hour!, minute: minute!, second: second! },
    millisecond: Number((parts[7] ?? "").padEnd(3, "0").slice(0, 3)),
  });
  if (wall === undefined) return refused("invalid_time", "no calendar has this time");
  const offset = parts[8];
  if (offset !== undefined) return { value: new Date(wall - offsetMs(offset)).toISOString() };
  if (timeZone !== undefined) return { value: new Date(localToUtc(wall, timeZone)).toISOString() };
  return refused("missing_time_zone", "has no offset: name the zone of such times in time_zone");
}

function offsetMs(offset: string): number {
  if (/^z$/i.test(offset)) return 0;
  const sign = offset.startsWith("-") ? -1 : 1;
  const [hours, minutes] = [offset.slice(1, 3), offset.slice(3).replace(":", "")];
  return sign * (Number(hours) * 60 + Number(minutes || 0)) * 60_000;
}
