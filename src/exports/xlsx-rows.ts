import { integerText, millisecondsAt, type RowBatch } from "./binary-copy.js";
import type { Column, ColumnType } from "./columns.js";
import { put, putDigits, putText } from "./put.js";
import { wallTimes } from "./wall-time.js";
import { cellText, hasExcelDate } from "./xlsx-cells.js";
import { columnLetters, escapeXml, formatNumber } from "./xlsx-layout.js";

/** Writes what follows the reference of a cell to `out` from `at` on, and returns where it ended. */
type CellWriter = (out: Buffer, at: number, batch: RowBatch, field: number) => number;

const ROW = Buffer.from('<row r="');
const ROW_END = Buffer.from("</row>\n");
const PLAIN_TEXT = Buffer.from(' t="inlineStr"><is><t>');
const PLAIN_TEXT_END = Buffer.from("</t></is></c>");
const VALUE_END = Buffer.from("</v></c>");
const QUOTE = 0x22;
const DOT = 0x2e;
const ZERO = 0x30;
const TAG_END = 0x3e;
const UNDERSCORE = 0x5f;
const LETTER_X = 0x78;

/** A byte of text grows to no more than this, as in `_x0001_`; and a cell, its text aside. */
const BYTES_PER_BYTE = 7;
const BYTES_PER_CELL = 128;

/** Most values are words and ids of these letters, which hold nothing that needs care. */
const plainBytes = new Uint8Array(256);
for (const letter of Buffer.from(
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.,:;+*/=@()-",
))
  plainBytes[letter] = 1;
/** Longer text may have to be cut. */
const PLAIN_LENGTH = 32_767;

/** Rich text is the one form in which every reader keeps blanks and undoes the escapes. */
const careful = (out: Buffer, at: number, text: string): number =>
  putText(
    out,
    at,
    ` t="inlineStr"><is><r><t xml:space="preserve">${escapeXml(cellText(text))}</t></r></is></c>`,
  );

function textCell(out: Buffer, at: number, { bytes, starts, lengths }: RowBatch, field: number): number {
  const start = starts[field]!;
  const end = start + lengths[field]!;
  if (end - start > PLAIN_LENGTH) return careful(out, at, bytes.toString("utf8", start, end));
  let to = put(out, at, PLAIN_TEXT);
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    // Excel would read `_x0041_` as an escaped `A`.
    if (plainBytes[byte] === 0 || (byte === LETTER_X && i > start && bytes[i - 1] === UNDERSCORE))
      return careful(out, at, bytes.toString("utf8", start, end));
    out[to++] = byte;
  }
  return put(out, to, PLAIN_TEXT_END);
}

const DAY_MS = 86_400_000;
/** Days from Excel's first day to that of the Unix epoch. */
const EPOCH_DAY = 25_569;
/** Tens of a billionth of a day tell milliseconds well apart. */
const DAY_DIGITS = 10;

/** What the clocks of the zone showed, as days since 1900: what a cell without a zone can hold. */
function timeCell(timeZone: string): CellWriter {
  const wallTime = wallTimes(timeZone);
  const open = Buffer.from(` s="${formatNumber("timestamp")}"><v>`);
  return (out, start, { view, starts }, field) => {
    const time = millisecondsAt(view, starts[field]!);
    if (!hasExcelDate(time)) return careful(out, start, new Date(time).toISOString());
    const wall = wallTime(time);
    const day = Math.floor(wall / DAY_MS);
    let at = putDigits(out, put(out, start, open), day + EPOCH_DAY);
    const part = Math.round(((wall - day * DAY_MS) * 10 ** DAY_DIGITS) / DAY_MS);
    if (part > 0) {
      out[at] = DOT;
      at = putDigits(out, at + 1, part, DAY_DIGITS);
      while (out[at - 1] === ZERO) at--;
    }
    return put(out, at, VALUE_END);
  };
}

/** A whole number that a double would round stays text, as does what is no number. */
function integerCell(out: Buffer, at: number, { view, starts }: RowBatch, field: number): number {
  const digits = integerText(view, starts[field]!);
  if (!Number.isSafeInteger(Number(digits))) return careful(out, at, digits);
  return putText(out, at, ` s="${formatNumber("integer")}"><v>${digits}</v></c>`);
}

function numberCell(out: Buffer, at: number, { view, starts }: RowBatch, field: number): number {
  const value = view.getFloat64(starts[field]!);
  const isExact = Number.isFinite(value) && (Number.isSafeInteger(value) || !Number.isInteger(value));
  return isExact ? putText(out, at, `><v>${value}</v></c>`) : careful(out, at, String(value));
}

/** XML of the rows [from, to) of a batch; `firstRow` is the row of the sheet that the first one is. */
export type RowsXml = (batch: RowBatch, from: number, to: number, firstRow: number) => Buffer;

/**
 * Writes rows of `binaryCopySql` as the XML of a sheet. Text is never a formula. Rows and cells have their references: without
 * them some readers fail.
 */
export function rowsXml(columns: readonly Pick<Column, "type">[], timeZone: string): RowsXml {
  const writers: Record<ColumnType, CellWriter> = {
    text: textCell,
    json: textCell,
    timestamp: timeCell(timeZone),
    integer: integerCell,
    number: numberCell,
  };
  const cells = columns.map(({ type }) => writers[type]);
  const letters = columns.map((_, i) => Buffer.from(`<c r="${columnLetters(i + 1)}`));
  const number = Buffer.alloc(String(Number.MAX_SAFE_INTEGER).length);
  let out = Buffer.alloc(0);

  return (batch, from, to, firstRow) => {
    const most = batch.bytes.length * BYTES_PER_BYTE + (to - from) * (columns.length + 1) * BYTES_PER_CELL;
    if (out.length < most) out = Buffer.allocUnsafeSlow(most);
    let at = 0;
    for (let row = from; row < to; row++) {
      const digits = number.subarray(0, putDigits(number, 0, firstRow + row - from));
      at = put(out, put(out, at, ROW), digits);
      out[at++] = QUOTE;
      out[at++] = TAG_END;
      for (let column = 0; column < cells.length; column++) {
        const field = row * cells.length + column;
        if (batch.lengths[field] === -1) continue;
        at = put(out, put(out, at, letters[column]!), digits);
        out[at++] = QUOTE;
        at = cells[column]!(out, at, batch, field);
      }
      at = put(out, at, ROW_END);
    }
    return Buffer.from(out.subarray(0, at));
  };
}
