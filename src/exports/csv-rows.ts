import { integerText, millisecondsAt, type RowBatch } from "./binary-copy.js";
import type { Column, ColumnType } from "./columns.js";
import { type CsvOptions, defaultCsv, isFormula, reservedTexts, startsLikeFormula } from "./csv.js";
import { instantWriter } from "./instant-text.js";
import { put, putText } from "./put.js";
import { mostBytesOf, type RowsWriter } from "./text-rows.js";

/** Writes a cell that is not NULL to `out` from `at` on, and returns where it ended. */
type CellWriter = (out: Buffer, at: number, batch: RowBatch, field: number) => number;

const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const CR = 0x0d;
const LF = 0x0a;

/** Quotes are doubled, and every cell may get two more and an apostrophe. */
const BYTES_PER_BYTE = 2;

/**
 * Writes the rows of `binaryCopySql` as CSV (RFC 4180) with CRLF row ends: what `csvLine` writes of the same values. Text that
 * looks like a formula gets a leading `'`, unless the options say otherwise; numbers, times and JSON cannot be one.
 */
export function csvRows(
  columns: readonly Pick<Column, "type">[],
  options: CsvOptions = defaultCsv,
): RowsWriter {
  const delimiter = options.delimiter.charCodeAt(0);
  const nullText = Buffer.from(options.null);
  const cells = columns.map(({ type }) => cellWriters[type](options));

  function write(out: Buffer, start: number, batch: RowBatch): number {
    const { rows, lengths } = batch;
    let at = start;
    let field = 0;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < cells.length; column++, field++) {
        if (column > 0) out[at++] = delimiter;
        at = lengths[field] === -1 ? put(out, at, nullText) : cells[column]!(out, at, batch, field);
      }
      out[at++] = CR;
      out[at++] = LF;
    }
    return at;
  }
  return { write, mostBytes: mostBytesOf(BYTES_PER_BYTE, 2) };
}

/** One for each column: what it keeps from row to row is about that column. */
const cellWriters: Record<ColumnType, (options: CsvOptions) => CellWriter> = {
  text: (options) => textCells(options, options.formula_guard),
  json: (options) => textCells(options, false),
  timestamp: () => {
    const instant = instantWriter();
    return (out, at, { view, starts }, field) => instant(out, at, millisecondsAt(view, starts[field]!));
  },
  integer:
    () =>
    (out, at, { view, starts }, field) =>
      putText(out, at, integerText(view, starts[field]!)),
  number:
    (options) =>
    (out, at, { view, starts }, field) => {
      const value = view.getFloat64(starts[field]!);
      return putText(out, at, Number.isFinite(value) ? String(value) : options.null);
    },
};

function textCells(options: CsvOptions, isGuarded: boolean): CellWriter {
  const special = new Uint8Array(256);
  for (const byte of Buffer.from(`${options.delimiter}"\r\n`)) special[byte] = 1;
  const reserved = reservedTexts(options).map((text) => Buffer.from(text));

  return (out, first, { bytes, starts, lengths }, field) => {
    const start = starts[field]!;
    const end = start + lengths[field]!;
    const isRisky =
      isGuarded && startsLikeFormula[bytes[start]!] === 1 && isFormula(bytes.toString("utf8", start, end));
    let at = first;
    if (isRisky) out[at++] = APOSTROPHE;
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!;
      if (special[byte] === 1) return quoted(out, first, bytes.subarray(start, end), isRisky);
      out[at++] = byte;
    }
    for (const text of reserved)
      if (text.length === at - first && text.equals(bytes.subarray(start, end)))
        return quoted(out, first, text, false);
    return at;
  };
}

function quoted(out: Buffer, first: number, text: Buffer, isRisky: boolean): number {
  let at = first;
  out[at++] = QUOTE;
  if (isRisky) out[at++] = APOSTROPHE;
  for (const byte of text) {
    if (byte === QUOTE) out[at++] = QUOTE;
    out[at++] = byte;
  }
  out[at++] = QUOTE;
  return at;
}
