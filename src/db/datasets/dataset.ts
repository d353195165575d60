import { CompiledQuery } from "kysely";
import pg from "pg";
import type { Column } from "../../exports/columns.js";
import type { Db } from "../client.js";

/** Which rows of an account somebody wants. */
export interface Selection {
  accountId: string;
  /** [from, to), by the dataset's own time. */
  from: Date;
  to: Date;
  /** Values that a filter lets through; null is the unknown one. */
  filters: { readonly [name: string]: readonly (string | null)[] | undefined };
}

/** Rows that can be read as a file: what COPY selects from, and in which order. */
export interface Rows {
  columns: readonly Column[];
  /** `FROM … WHERE … [ORDER BY …]` as text, since COPY takes no parameters: every value is a quoted literal. */
  from(options: { ordered: boolean }): string;
}

/**
 * One table of rows that people take away. Its key is that of an index behind `account_id`, so that a range of it is read in
 * order and nothing is ever sorted.
 */
export interface Dataset {
  columns: readonly Column[];
  /** What may be filtered by, as SQL that gives the value as text. */
  filters: Readonly<Record<string, string>>;
  /** The table with its alias. */
  table: string;
  accountId: string;
  /** The key behind the account: the time that `from` and `to` are about, then what tells equal times apart. */
  key: readonly [time: string, id: string];
}

const literal = pg.escapeLiteral;
export const instantLiteral = (time: Date): string => `${literal(time.toISOString())}::timestamptz`;

/** The selected rows of a dataset. Reads one index range; `ORDER BY` follows that index. */
export function selectRows(dataset: Dataset, selection: Selection): Rows {
  const [time] = dataset.key;
  const conditions = [
    `${dataset.accountId} = ${literal(selection.accountId)}`,
    `${time} >= ${instantLiteral(selection.from)}`,
    `${time} < ${instantLiteral(selection.to)}`,
    ...filterConditions(dataset, selection.filters),
  ];
  const order = ` order by ${[dataset.accountId, ...dataset.key].join(", ")}`;
  return {
    columns: dataset.columns,
    from: ({ ordered }) => `from ${dataset.table} where ${conditions.join(" and ")}${ordered ? order : ""}`,
  };
}

function filterConditions({ filters }: Dataset, wanted: Selection["filters"]): string[] {
  return Object.entries(filters).flatMap(([name, value]) => {
    const values = wanted[name];
    if (!values) return [];
    const known = values.filter((one) => one !== null).map(literal);
    const ways = [
      ...(known.length > 0 ? [`${value} in (${known.join(", ")})`] : []),
      ...(values.includes(null) ? [`${value} is null`] : []),
    ];
    return [`(${ways.join(" or ")})`];
  });
}

/** The named columns, in the order of the names; all of them without names. */
export function pickColumns(
  columns: readonly Column[],
  names: readonly string[] | undefined,
): readonly Column[] {
  return names ? names.map((name) => columns.find((column) => column.name === name)!) : columns;
}

export async function countRows(db: Db, rows: Rows): Promise<number> {
  const result = await db.executeQuery<{ count: number }>(
    CompiledQuery.raw(`select count(*) as count ${rows.from({ ordered: false })}`),
  );
  return result.rows[0]!.count;
}
