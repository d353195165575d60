import type { ImportRow } from "./import-row.js";

export interface MinuteRow {
  row: ImportRow;
  /** The minute of a message whose seconds are not known; undefined for any other row. */
  minute: number | undefined;
}

/** Messages of one minute that are told apart, half a second of milliseconds; those beyond share the last place. */
const PLACES = 500;
const LAST_OF_SECOND = 999;

/**
 * Gives messages without seconds the order of their lines: milliseconds by the place in their minute.
 *
 * A message keeps the earliest time that any export gives it, so exports that overlap agree only if the one that knows
 * less of a minute puts nothing earlier. Messages are missing at the end of a file's last minute, which changes no
 * place, and before the first of its first minute: so that one is counted backwards from its end, in the other half of
 * the second. `countEqual` says how often it was asked for a minute before. Holds at most `PLACES` rows.
 */
export async function* inOrderOfLines(
  rows: AsyncIterable<MinuteRow>,
  countEqual: (minute: string) => number,
): AsyncGenerator<ImportRow> {
  let first: number | undefined;
  let opening: MinuteRow[] | undefined = [];
  for await (const one of rows) {
    const { minute } = one;
    first ??= minute;
    if (opening && first !== undefined && (minute ?? first) === first) {
      opening.push(one);
      if (opening.length > PLACES) yield placed(opening.shift()!, LAST_OF_SECOND - PLACES + 1);
    } else {
      if (first !== undefined && opening) {
        yield* backwards(opening);
        opening = undefined;
      }
      const place = () => Math.min(countEqual(String(minute)), PLACES - 1);
      yield placed(one, minute === undefined || minute === first ? LAST_OF_SECOND : place());
    }
  }
  if (opening) yield* backwards(opening);
}

function* backwards(rows: readonly MinuteRow[]): Generator<ImportRow> {
  let after = rows.filter(({ minute }) => minute !== undefined).length;
  for (const one of rows) {
    if (one.minute !== undefined) after -= 1;
    yield placed(one, LAST_OF_SECOND - after);
  }
}

function placed({ row, minute }: MinuteRow, millisecond: number): ImportRow {
  if (minute === undefined) return row;
  const drafts = row.drafts.map((draft) => ({
    ...draft,
    occurred_at: new Date(Date.parse(draft.occurred_at) + millisecond).toISOString(),
  }));
  return { ...row, drafts };
}
