import { integerText, millisecondsAt, type RowBatch } from "./binary-copy.js";
import type { Column, ColumnType } from "./columns.js";
import { instantWriter } from "./instant-text.js";
import { put, putText } from "./put.js";
import { mostBytesOf, type RowsWriter } from "./text-rows.js";

/** Writes a value that is not NULL to `out` from `at` on, and returns where it ended. */
type ValueWriter = (out: Buffer, at: number, batch: RowBatch, field: number) => number;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const NULL = Buffer.from("null");

/** As in `\u0001`. */
const BYTES_PER_BYTE = 6;

/** What stands around the objects: lines of their own, or the elements of one array without its brackets. */
const layouts = {
  lines: { first: "{", next: "{", end: "}\n" },
  elements: { first: "\n{", next: ",\n{", end: "}" },
} as const;

/** Writes the rows of `binaryCopySql` as JSON objects. A number that JSON has no word for is null. */
export function jsonRows(
  columns: readonly Pick<Column, "name" | "type">[],
  layout: keyof typeof layouts,
): RowsWriter {
  const { first, next, end } = layouts[layout];
  const names = columns.map(({ name }, i) => Buffer.from(`${i > 0 ? "," : ""}${JSON.stringify(name)}:`));
  const values = columns.map(({ type }) => valueWriters[type]());
  const rowEnd = Buffer.from(end);
  let rowStart = Buffer.from(first);

  function write(out: Buffer, start: number, batch: RowBatch): number {
    const { rows, lengths } = batch;
    let at = start;
    let field = 0;
    for (let row = 0; row < rows; row++) {
      at = put(out, at, rowStart);
      for (let column = 0; column < values.length; column++, field++) {
        at = put(out, at, names[column]!);
        at = lengths[field] === -1 ? put(out, at, NULL) : values[column]!(out, at, batch, field);
      }
      at = put(out, at, rowEnd);
      if (row === 0) rowStart = Buffer.from(next);
    }
    return at;
  }
  const perRow = Buffer.concat([...names, Buffer.from(next + end)]).length;
  return { write, mostBytes: mostBytesOf(BYTES_PER_BYTE, perRow) };
}

/** One for each column: what it keeps from row to row is about that column. */
const valueWriters: Record<ColumnType, () => ValueWriter> = {
  text: () => textValue,
  json:
    () =>
    (out, at, { bytes, starts, lengths }, field) =>
      at + bytes.copy(out, at, starts[field]!, starts[field]! + lengths[field]!),
  timestamp: () => {
    const instant = instantWriter();
    return (out, start, { view, starts }, field) => {
      out[start] = QUOTE;
      const at = instant(out, start + 1, millisecondsAt(view, starts[field]!));
      out[at] = QUOTE;
      return at + 1;
    };
  },
  integer:
    () =>
    (out, at, { view, starts }, field) =>
      putText(out, at, integerText(view, starts[field]!)),
  number:
    () =>
    (out, at, { view, starts }, field) =>
      putText(out, at, JSON.stringify(view.getFloat64(starts[field]!))),
};

function textValue(out: Buffer, first: number, { bytes, starts, lengths }: RowBatch, field: number): number {
  const start = starts[field]!;
  const end = start + lengths[field]!;
  let at = first;
  out[at++] = QUOTE;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE || byte === BACKSLASH || byte < SPACE)
      return putText(out, first, JSON.stringify(bytes.toString("utf8", start, end)));
    out[at++] = byte;
  }
  out[at++] = QUOTE;
  return at;
}
