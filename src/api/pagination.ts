import { z } from "zod";
import type { NewestFirst } from "../db/newest-first.js";
import { InvalidInput } from "../errors.js";

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;

/** The two parameters of a list with at most `max` rows a page. */
export function pageParametersUpTo(max: number) {
  const message = `must be a whole number from 1 to ${max}`;
  return {
    limit: z
      .string()
      .regex(/^[1-9]\d{0,3}$/, message)
      .transform(Number)
      .pipe(z.number().max(max, message))
      .default(DEFAULT_LIMIT),
    cursor: z.string().max(4_096).optional(),
  };
}

/** Those of every list; spread them into its query schema. */
export const pageParameters = pageParametersUpTo(MAX_LIMIT);

/** An opaque place in a list: the sort key of the last row that was shown. */
export const encodeCursor = (key: unknown): string =>
  Buffer.from(JSON.stringify(key), "utf8").toString("base64url");

/** The sort key in a cursor that `encodeCursor` made; throws `InvalidInput` (`invalid_cursor`) for anything else. */
export function decodeCursor<T extends z.ZodType>(schema: T, cursor: string): z.output<T> {
  try {
    return schema.parse(JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")));
  } catch {
    throw InvalidInput.of([
      { path: "cursor", code: "invalid_cursor", message: "is not a cursor of this list" },
    ]);
  }
}

/**
 * The answer of a list. Ask the database for `limit + 1` rows: the extra one only tells that there is a next page.
 * `keyOf` is the sort key of a row.
 */
export function toPage<Row, Json>(
  rows: readonly Row[],
  limit: number,
  present: (row: Row) => Json,
  keyOf: (row: Row) => unknown,
): { data: Json[]; next_cursor: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { data: shown.map(present), next_cursor: more ? encodeCursor(keyOf(last)) : null };
}

const placeShape = z.tuple([z.iso.datetime(), z.uuid()]);

/** The answer of a list with the newest first, of the query that asks for it. */
export async function newestFirst<Row extends { created_at: Date }, Json>(
  { limit, cursor }: { limit: number; cursor?: string | undefined },
  list: (page: NewestFirst) => Promise<readonly Row[]>,
  present: (row: Row) => Json,
  idOf: (row: Row) => string,
): Promise<{ data: Json[]; next_cursor: string | null }> {
  const place = cursor === undefined ? undefined : decodeCursor(placeShape, cursor);
  const before = place && { createdAt: new Date(place[0]), id: place[1] };
  const rows = await list({ before, limit: limit + 1 });
  return toPage(rows, limit, present, (row) => [row.created_at.toISOString(), idOf(row)]);
}
