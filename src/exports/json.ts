import { Readable, Transform } from "node:stream";

const LF = 0x0a;

/**
 * Turns the lines of `jsonCopySql` into the elements of a JSON array (`\n{…},\n{…}`), in constant memory. `rows()` is the
 * number of rows so far.
 */
export function jsonElements(): Transform & { rows(): number } {
  let rows = 0;
  // The last line end is held back: only the next byte tells whether a comma belongs before it.
  let pending = "\n";
  let lineOpen = false;
  const transform = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (chunk.length === 0) return done();
      const closed = chunk[chunk.length - 1] === LF;
      const text = chunk.toString("latin1", 0, closed ? chunk.length - 1 : chunk.length);
      const body = text.replaceAll("\n", ",\n");
      rows += body.length - text.length + (closed ? 1 : 0);
      const separated = pending + body;
      pending = closed ? ",\n" : "";
      lineOpen = !closed;
      done(null, Buffer.from(separated, "latin1"));
    },
    flush(done) {
      if (lineOpen) rows++;
      done();
    },
  });
  return Object.assign(transform, { rows: () => rows });
}

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
