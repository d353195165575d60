import type { Readable } from "node:stream";
import { type Column, formattedSelect } from "./columns.js";

/**
 * The COPY statement for NDJSON: one JSON object a line, LF ends, ready to be sent as it is (`countRows` counts them).
 * JSON text holds no raw control characters, so with two of those as quote and delimiter COPY finds nothing to escape.
 * `json` columns pass through jsonb, because the `json` type keeps the line breaks of its input.
 * `fromAndWhere` starts with FROM and is trusted SQL.
 */
export function jsonCopySql(columns: readonly Column[], fromAndWhere: string): string {
  const rows = formattedSelect(columns, fromAndWhere, {});
  return (
    `COPY (SELECT row_to_json(r) FROM (${rows}) r) ` +
    `TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')`
  );
}

/** The lines of such a COPY, without their ends. */
export async function* jsonLines(source: Readable): AsyncIterable<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of source as AsyncIterable<Buffer>) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
  if (rest) yield rest;
}
