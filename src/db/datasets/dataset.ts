import { CompiledQuery } from "kysely";
import pg from "pg";
import type { Column } from "../../exports/columns.js";
import type { Db } from "../client.js";
import type { HeldSnapshot } from "../held-snapshot.js";

/** Which rows of an account somebody wants. */
export interface Selection {
  accountId: string;
  /** [from, to), by the dataset's own time. */
  from: Date;
  to: Date;
  /** Values that a filter lets through; null is the unknown one. */
  filters: { readonly [name: string]: readonly (string | null)[] | undefined };
}

/** A row's place in the order of its dataset: the key behind the account, as text. */
export type RowKey = readonly string[];

/** Rows from one key on and before another one; open where there is none. */
export interface KeyRange {
  from?: RowKey | undefined;
  to?: RowKey | undefined;
}

/** Rows that can be read as a file: what COPY selects from, and in which order. */
export interface Rows {
  columns: readonly Column[];
  /** What orders the rows, as SQL; undefined where a range of them cannot be read alone. */
  key: readonly string[] | undefined;
  /** `FROM … WHERE … [ORDER BY …]` as text, since COPY takes no parameters: every value is a quoted literal. */
  from(options: { ordered: boolean; within?: KeyRange }): string;
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
  const conditions = [
    `${dataset.accountId} = ${literal(selection.accountId)}`,
    ...filterConditions(dataset, selection.filters),
  ];
  const order = ` order by ${[dataset.accountId, ...dataset.key].join(", ")}`;
  return {
    columns: dataset.columns,
    key: dataset.key,
    from: ({ ordered, within = {} }) => {
      const all = [...conditions, ...bounds(dataset.key, selection, within)];
      return `from ${dataset.table} where ${all.join(" and ")}${ordered ? order : ""}`;
    },
  };
}

/**
 * One bound on either side. A key lies within the range of time, and where PostgreSQL 18 is given both it walks through all of
 * the range. Beside a key stands its time alone: it tells which partitions are meant.
 */
function bounds(key: Dataset["key"], { from, to }: Selection, within: KeyRange): string[] {
  const [time] = key;
  const compare = (sign: "<" | ">=", values: RowKey) => [
    `(${key.join(", ")}) ${sign} (${values.map(literal).join(", ")})`,
    `${time} ${sign[0]}= ${literal(values[0]!)}`,
  ];
  return [
    ...(within.from ? compare(">=", within.from) : [`${time} >= ${instantLiteral(from)}`]),
    ...(within.to ? compare("<", within.to) : [`${time} < ${instantLiteral(to)}`]),
  ];
}

function filterConditions({ filters }: Dataset, wanted: Selection["filters"]): string[] {
  return Object.entries(filters).flatMap(([name, value]) => {
    const values = wanted[name];
    if (!values) return [];
    if (values.length === 0) return ["false"];
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

export interface CountedRows {
  count: number;
  /** Of when it is. */
  takenAt: Date;
}

/** How many rows there are, of which no more than `limit` are counted. */
export async function countRows(
  reader: Pick<HeldSnapshot, "read">,
  rows: Rows,
  { within = {}, limit }: { within?: KeyRange; limit?: number | undefined },
  signal: AbortSignal,
): Promise<CountedRows> {
  const bound = limit === undefined ? "" : ` limit ${limit}`;
  const counted = `select 1 ${rows.from({ ordered: false, within })}${bound}`;
  const [found] = await reader.read<{ count: number; taken_at: Date }>(
    `select count(*) as count, now() as taken_at from (${counted}) counted`,
    signal,
  );
  return { count: found!.count, takenAt: found!.taken_at };
}

/** The statement for rows under the names of their columns, in their order. */
export function selectText(rows: Rows, columns = rows.columns): string {
  const selected = columns.map(({ name, sql }) => `${sql} as "${name}"`).join(", ");
  return `select ${selected} ${rows.from({ ordered: true })}`;
}

/** The first rows, as JSON has them. Reads no more than it gives. */
export async function readFirstRows(
  db: Db,
  rows: Rows,
  columns: readonly Column[],
  limit: number,
): Promise<Record<string, unknown>[]> {
  const result = await db.executeQuery<Record<string, unknown>>(
    CompiledQuery.raw(`${selectText(rows, columns)} limit $1`, [limit]),
  );
  return result.rows;
}
