import { Readable } from "node:stream";
import type { Column } from "./columns.js";
import { jsonRows } from "./json-rows.js";
import { textOfRows } from "./text-rows.js";

const INDENT = 2;

/**
 * JSON for people, as `JSON.stringify(…, null, 2)` writes it: the fields of `head`, and the rows as the array `name`
 * behind them. Rows are JSON text and pass one at a time.
 */
export function prettyDocument(
  head: Readonly<Record<string, unknown>>,
  name: string,
  lines: AsyncIterable<string> | Iterable<string>,
): { bytes: Readable; rows(): number } {
  let rows = 0;
  async function* bytes() {
    const opened = JSON.stringify({ ...head, [name]: [] }, null, INDENT);
    yield opened.slice(0, -"]\n}".length);
    for await (const line of lines) {
      const row = JSON.stringify(JSON.parse(line), null, INDENT).replaceAll(
        "\n",
        `\n${" ".repeat(2 * INDENT)}`,
      );
      yield `${rows++ === 0 ? "" : ","}\n${" ".repeat(2 * INDENT)}${row}`;
    }
    yield rows === 0 ? "]\n}\n" : `\n${" ".repeat(INDENT)}]\n}\n`;
  }
  return { bytes: Readable.from(bytes(), { objectMode: false }), rows: () => rows };
}

/** The same of the rows that `binaryCopySql` selects. */
export function prettyRows(
  source: AsyncIterable<Buffer>,
  columns: readonly Column[],
  head: Readonly<Record<string, unknown>>,
  name: string,
): { bytes: Readable; rows(): number } {
  const { chunks } = textOfRows(source, columns.length, jsonRows(columns, "lines"));
  return prettyDocument(head, name, linesOf(chunks));
}

/** Lines that end with LF each, without their ends. */
async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncIterable<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of chunks) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}
