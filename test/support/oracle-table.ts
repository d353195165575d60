import { bucketOfSlots, type Interval } from "./oracle-buckets.js";
import { groupBy } from "./oracle-messages.js";

/** `bucket` and dimension values are text (null: unknown), metrics are numbers (null: nothing to measure). */
export type OracleRow = Record<string, string | number | null>;

export interface Tabulated {
  /** RFC 3339, on 15 minutes; `to` is exclusive. */
  from: string;
  to: string;
  interval: Interval;
  time_zone: string;
  metrics: string[];
  group_by: string[];
}

/** Where a number stands. */
export interface Place<T> {
  /** All of the combination up to the end of the bucket or range, since the beginning. */
  upto: () => T[];
  /** How much of the bucket lies in the range, and is over. */
  spanMs: number;
  isTotal: boolean;
  now: number;
}

interface Placed {
  at: number;
  dimensions: (string | null)[];
}

/** Which combinations there are, where they are told apart; all of them unless it is said. */
interface Presence<T> {
  /** Whether it makes a row and a total. */
  shows?: (contribution: T) => boolean;
  /** Whether a total stands by what came to the combination by the end of the range, even if nothing did within it. */
  stands?: (upto: T[]) => boolean;
  now?: number;
}

/** Rows, by bucket and then by the dimensions, and totals of what lies in the range of the query. */
export function tabulate<T extends Placed>(
  contributed: readonly T[],
  query: Tabulated,
  measureOf: (metric: string, found: T[], place: Place<T>) => number | null,
  { shows = () => true, stands = () => false, now = Date.now() }: Presence<T> = {},
): { rows: OracleRow[]; totals: OracleRow[] } {
  const [from, to] = [Date.parse(query.from), Date.parse(query.to)];
  const bucketOf = bucketOfSlots(from, to, query.interval, query.time_zone);
  const isGrouped = query.group_by.length > 0;
  const keyOf = (dimensions: (string | null)[], ...bucket: string[]) =>
    JSON.stringify([...bucket, ...dimensions]);
  const started = contributed.filter(({ at }) => at < to);
  const selected = started.filter(({ at }) => at >= from);
  const combinations = groupBy(started, ({ dimensions }) => keyOf(dimensions));
  const endOf = new Map(
    bucketOf.all.map((start, index) => [
      start,
      Math.min(to, Date.parse(bucketOf.all[index + 1] ?? query.to)),
    ]),
  );

  const rows = groupBy(selected, ({ at, dimensions }) => keyOf(dimensions, bucketOf(at)));
  const totals = groupBy(selected, ({ dimensions }) => keyOf(dimensions));
  if (isGrouped) {
    for (const [key, own] of rows) if (!own.some(shows)) rows.delete(key);
    for (const [key, upto] of combinations) {
      if (!totals.has(key)) totals.set(key, []);
      if (!totals.get(key)!.some(shows) && !stands(upto)) totals.delete(key);
    }
  } else {
    for (const bucket of bucketOf.all) if (!rows.has(keyOf([], bucket))) rows.set(keyOf([], bucket), []);
    if (!totals.has("[]")) totals.set("[]", []);
  }

  const measured = (groups: Map<string, T[]>, names: string[]) =>
    sorted(groups, names).map(({ labels, own }) => {
      const isTotal = names[0] !== "bucket";
      const bucket = isTotal ? undefined : labels[0]!;
      const end = bucket === undefined ? to : endOf.get(bucket)!;
      const start = bucket === undefined ? from : Math.max(from, Date.parse(bucket));
      let upto: T[] | undefined;
      const place: Place<T> = {
        upto: () => {
          const all = combinations.get(keyOf(isTotal ? labels : labels.slice(1))) ?? [];
          upto ??= all.filter(({ at }) => at < end);
          return upto;
        },
        // Nothing leaves the queue in minutes to come.
        spanMs: Math.min(end, now) - start,
        isTotal,
        now,
      };
      return {
        ...Object.fromEntries(names.map((name, index) => [name, labels[index]!])),
        ...Object.fromEntries(query.metrics.map((metric) => [metric, measureOf(metric, own, place)])),
      };
    });
  return { rows: measured(rows, ["bucket", ...query.group_by]), totals: measured(totals, query.group_by) };
}

function sorted<T>(groups: Map<string, T[]>, names: string[]): { labels: (string | null)[]; own: T[] }[] {
  return [...groups]
    .map(([key, own]) => ({ labels: JSON.parse(key) as (string | null)[], own }))
    .sort((a, b) => compareLabels(a.labels, b.labels, names.length));
}

function compareLabels(a: (string | null)[], b: (string | null)[], count: number): number {
  for (let index = 0; index < count; index++) {
    const [label, other] = [a[index]!, b[index]!];
    if (label === other) continue;
    if (label === null) return 1;
    if (other === null) return -1;
    return label < other ? -1 : 1;
  }
  return 0;
}
