import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import papaparse from "papaparse";
import { PermanentJobError } from "../../errors.js";

/** More of one row is taken for a quote that nobody closed. The parser reads an unfinished row anew with every piece. */
export const MAX_ROW_LENGTH = 1_000_000;

export interface CsvRow {
  /** The first row, usually the header, is 1. */
  row: number;
  cells: readonly string[];
}

/** Enough of a text to see how it is written. */
const HEAD_LENGTH = 65_536;
const GUESSED_ROWS = 10;

/**
 * The rows of a CSV text of any length, in constant memory. Empty rows are left out but counted. `delimiter` undefined: the
 * one of `, ; TAB |` that splits the first rows most evenly. Rows end as the first one does. Throws `row_too_long`.
 */
export async function* csvRows(
  text: AsyncIterable<string>,
  delimiter: string | undefined,
): AsyncGenerator<CsvRow> {
  const pieces = text[Symbol.asyncIterator]();
  const head = await readHead(pieces);
  const start = head.join("");
  const newline = lineEnd(start);
  const parser = papaparse.parse(papaparse.NODE_STREAM_INPUT, {
    delimiter: delimiter ?? guessDelimiter(start, newline),
    newline,
  });
  let row = 0;
  let unparsed = 0;
  async function* bounded() {
    for await (const piece of joined(head, pieces)) {
      unparsed += piece.length;
      if (unparsed > MAX_ROW_LENGTH) throw rowTooLong(row + 1);
      yield piece;
    }
  }
  const feeding = pipeline(Readable.from(bounded()), parser).catch((error: unknown) =>
    parser.destroy(error as Error),
  );
  try {
    for await (const cells of parser as AsyncIterable<string[]>) {
      row += 1;
      unparsed = 0;
      if (cells.length > 1 || cells[0] !== "") yield { row, cells };
    }
    await feeding;
  } finally {
    parser.destroy();
  }
}

async function readHead(pieces: AsyncIterator<string>): Promise<string[]> {
  const head: string[] = [];
  for (let length = 0; length < HEAD_LENGTH; ) {
    const next = await pieces.next();
    if (next.done) break;
    head.push(next.value);
    length += next.value.length;
  }
  return head;
}

async function* joined(head: readonly string[], rest: AsyncIterator<string>): AsyncGenerator<string> {
  try {
    yield* head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/** How the first row ends: a break between quotes is none of its own. */
function lineEnd(text: string): "\n" | "\r\n" | "\r" {
  const end = /^(?:[^"\r\n]|"[^"]*")*(\r\n|\r|\n)/.exec(text)?.[1];
  return (end as "\r\n" | "\r" | undefined) ?? "\n";
}

const guessDelimiter = (text: string, newline: string): string =>
  papaparse.parse(text, {
    newline: newline as "\n",
    preview: GUESSED_ROWS,
    // The empty row behind the last line end would make two columns look like fewer.
    skipEmptyLines: true,
    delimitersToGuess: [",", ";", "\t", "|"],
  }).meta.delimiter;

const rowTooLong = (row: number) =>
  new PermanentJobError(
    "row_too_long",
    `Row ${row} has more than ${MAX_ROW_LENGTH} characters: is a quote left open?`,
  );
