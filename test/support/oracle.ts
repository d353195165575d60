/**
 * The delivery metrics once more, by brute force: the yardstick for the fold and the metrics query, which are SQL.
 * Plain and slow on purpose. It shares no code with them, so the definitions are spelled out here:
 *
 * - A message is (account_id, message_id). Only stage events make and describe one: queued, accepted, sent, delivered,
 *   read, played, failed, received. Edits, revokes, deletions, reactions and the like change nothing here.
 * - A stage's time is the earliest occurred_at among its events, in whole milliseconds. It is trusted if an event with
 *   that time was timed by the provider or a gateway.
 * - A fact is what the event with the least (time quality, occurred_at) says of it. Real ties, which the service breaks by
 *   event key, are refused: histories for this oracle must not hold any.
 * - A later stage of queued < accepted < sent < delivered < read < played implies the earlier ones: in counts, never in
 *   times. `failed` counts only while none of delivered, read and played is known.
 * - The anchor is min(queued, accepted, sent), else the earliest stage. Cohort basis puts a whole message there. Event
 *   basis puts each count at its stage's time, an implied stage at the earliest stage that implies it.
 * - Durations need both ends known and trusted; one that runs backwards is 0. Percentiles are nearest-rank.
 */
import { DateTime } from "luxon";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { bucketOfSlots, type Interval } from "./oracle-buckets.js";
import {
  durationMs,
  durations,
  earliestOf,
  groupBy,
  type OracleMessage,
  oracleMessages,
} from "./oracle-messages.js";

export { type OracleMessage, oracleKey, oracleMessages } from "./oracle-messages.js";

export const oracleDimensions = {
  channel_id: (message) => message.facts.channel_id ?? null,
  direction: (message) => message.facts.direction ?? null,
  content_kind: (message) => message.facts.content?.content_kind ?? null,
  template: (message) => message.facts.template?.name ?? null,
  campaign_id: (message) => message.facts.campaign_id ?? null,
  error_class: (message) => (message.terminalFailed && message.facts.error?.class) || null,
  error_code: (message) => (message.terminalFailed && textOf(message.facts.error?.code)) || null,
} satisfies Record<string, (message: OracleMessage) => string | null>;
export type OracleDimension = keyof typeof oracleDimensions;

const textOf = (code: string | number | undefined) => (code === undefined ? null : String(code));

/** One message's share in one number, with the time that decides its bucket. `ms` is there for durations. */
interface Contribution {
  metric: string;
  at: number;
  ms?: number;
}

function contributions(message: OracleMessage, basis: "cohort" | "event"): Contribution[] {
  const found: Contribution[] = [];
  const { anchor } = message;
  const { queued, accepted, sent, delivered, read, played, failed, received } = message.stages;
  const count = (metric: string, eventTime: number | undefined) => {
    if (eventTime !== undefined) found.push({ metric, at: basis === "cohort" ? anchor : eventTime });
  };

  if (message.facts.direction === "inbound") count("messages_received", received);
  if (message.facts.direction !== "outbound") return found;

  const anyStage = [queued, accepted, sent, delivered, read, played, failed, received];
  if (anyStage.some((time) => time !== undefined)) count("messages_attempted", anchor);
  count("messages_sent", sent ?? earliestOf(delivered, read, played));
  count("messages_delivered", delivered ?? earliestOf(read, played));
  count("messages_read", read ?? played);
  count("messages_played", played);
  if (message.terminalFailed) count("messages_failed", failed);
  if (earliestOf(delivered, read, played, failed) === undefined) count("messages_pending", sent);

  for (const { metric, from, to } of durations) {
    const ms = durationMs(message, from, to);
    if (ms === undefined) continue;
    found.push({ metric, at: basis === "cohort" ? anchor : message.stages[to]!, ms: Math.max(0, ms) });
  }
  return found;
}

export interface OracleQuery {
  account_id: string;
  metrics: string[];
  /** RFC 3339, on 15 minutes; `to` is exclusive. */
  from: string;
  to: string;
  interval: Interval;
  group_by: OracleDimension[];
  time_zone: string;
  basis: "cohort" | "event";
  filters?: { [Name in OracleDimension]?: (string | null)[] };
}

/** `bucket` and dimension values are text (null: unknown), metrics are numbers (null: nothing to measure). */
export type OracleRow = Record<string, string | number | null>;

/**
 * The answer of `GET /analytics/metrics`, exactly: no histogram bins. Rows are sorted by bucket, then by the dimensions.
 * With `group_by`, a combination exists where some message contributes anything at all, asked for or not.
 */
export function oracleMetrics(
  events: readonly EventJson[],
  query: OracleQuery,
): { rows: OracleRow[]; totals: OracleRow[] } {
  const selected = [...oracleMessages(events).values()]
    .filter((message) => message.account_id === query.account_id && passes(message, query.filters ?? {}))
    .flatMap((message) =>
      contributions(message, query.basis).map((contribution) => ({
        ...contribution,
        dimensions: query.group_by.map((name) => oracleDimensions[name](message)),
      })),
    );
  return tabulate(selected, query, measure);
}

type Tabulated = Pick<OracleQuery, "from" | "to" | "interval" | "time_zone" | "metrics"> & {
  group_by: string[];
};

/** Rows and totals of what lies in the range of the query. */
export function tabulate<T extends { at: number; dimensions: (string | null)[] }>(
  contributed: readonly T[],
  query: Tabulated,
  measureOf: (metric: string, found: T[]) => number | null,
): { rows: OracleRow[]; totals: OracleRow[] } {
  const from = Date.parse(query.from);
  const to = Date.parse(query.to);
  const bucketOf = bucketOfSlots(from, to, query.interval, query.time_zone);
  const selected = contributed
    .filter(({ at }) => at >= from && at < to)
    .map((contribution) => ({ contribution, bucket: bucketOf(contribution.at) }));

  const grouped = query.group_by.length > 0;
  const rows = groupBy(selected, ({ bucket, contribution }) =>
    JSON.stringify([bucket, ...contribution.dimensions]),
  );
  const totals = groupBy(selected, ({ contribution }) => JSON.stringify(contribution.dimensions));
  if (!grouped) {
    for (const bucket of bucketOf.all)
      if (!rows.has(JSON.stringify([bucket]))) rows.set(JSON.stringify([bucket]), []);
    if (!totals.has("[]")) totals.set("[]", []);
  }
  const measured = (groups: typeof rows, names: string[]) =>
    sorted(groups, names, query.metrics, (metric, own) =>
      measureOf(
        metric,
        own.map(({ contribution }) => contribution),
      ),
    );
  return { rows: measured(rows, ["bucket", ...query.group_by]), totals: measured(totals, query.group_by) };
}

export interface OracleCell {
  weekday: number;
  hour: number;
  /** Hours of the range in the cell. */
  hours: number;
  value: number | null;
}

/** The answer of `GET /analytics/heatmap`: every contribution asks the wall clock for its weekday and hour. */
export function oracleHeatmap(
  events: readonly EventJson[],
  query: Omit<OracleQuery, "metrics" | "interval" | "group_by"> & { metric: string },
): { cells: OracleCell[]; total: number | null } {
  const from = Date.parse(query.from);
  const to = Date.parse(query.to);
  const cellOf = (instant: number) => {
    const local = DateTime.fromMillis(instant, { zone: query.time_zone });
    return (local.weekday - 1) * 24 + local.hour;
  };
  const selected = [...oracleMessages(events).values()]
    .filter((message) => message.account_id === query.account_id && passes(message, query.filters ?? {}))
    .flatMap((message) => contributions(message, query.basis))
    .filter(({ at }) => at >= from && at < to);
  const quarters = new Array<number>(7 * 24).fill(0);
  for (let instant = from; instant < to; instant += 900_000) quarters[cellOf(instant)]! += 1;
  const byCell = groupBy(selected, ({ at }) => String(cellOf(at)));
  return {
    cells: quarters.map((count, cell) => ({
      weekday: Math.floor(cell / 24) + 1,
      hour: cell % 24,
      hours: count / 4,
      value: measure(query.metric, byCell.get(String(cell)) ?? []),
    })),
    total: measure(query.metric, selected),
  };
}

function passes(message: OracleMessage, filters: NonNullable<OracleQuery["filters"]>): boolean {
  return Object.entries(filters).every(([name, values]) =>
    values.includes(oracleDimensions[name as OracleDimension](message)),
  );
}

function sorted<T>(
  groups: Map<string, T[]>,
  names: string[],
  metrics: string[],
  measureOf: (metric: string, found: T[]) => number | null,
): OracleRow[] {
  return [...groups]
    .map(([key, own]) => ({ labels: JSON.parse(key) as (string | null)[], own }))
    .sort((a, b) => compareLabels(a.labels, b.labels))
    .map(({ labels, own }) => ({
      ...Object.fromEntries(names.map((name, index) => [name, labels[index]!])),
      ...Object.fromEntries(metrics.map((metric) => [metric, measureOf(metric, own)])),
    }));
}

function compareLabels(a: (string | null)[], b: (string | null)[]): number {
  for (const [index, label] of a.entries()) {
    const other = b[index]!;
    if (label === other) continue;
    if (label === null) return 1;
    if (other === null) return -1;
    return label < other ? -1 : 1;
  }
  return 0;
}

function measure(metric: string, found: Contribution[]): number | null {
  const count = (name: string) =>
    found.filter((contribution) => contribution.metric === `messages_${name}`).length;
  const rate = (part: number, whole: number) => (whole === 0 ? null : part / whole);
  switch (metric) {
    case "delivery_rate":
      return rate(count("delivered"), count("sent"));
    case "success_rate":
      return rate(count("delivered"), count("delivered") + count("failed"));
    case "failure_rate":
      return rate(count("failed"), count("attempted"));
    case "read_rate":
      return rate(count("read"), count("delivered"));
  }
  const time = /^(time_to_(?:send|deliver|read))_(p\d\d|mean|max)$/.exec(metric);
  if (time) {
    const ms = found
      .filter((contribution) => contribution.metric === time[1])
      .map((contribution) => contribution.ms!);
    return statistic(ms, time[2]!);
  }
  if (!/^messages_(attempted|sent|delivered|read|played|failed|received|pending)$/.test(metric))
    throw new Error(`the oracle does not know ${metric}`);
  return count(metric.slice("messages_".length));
}

/** In seconds. Nearest rank: the smallest value that at least p of all values do not exceed. */
export function statistic(ms: readonly number[], name: string): number | null {
  if (ms.length === 0) return null;
  if (name === "mean") return ms.reduce((sum, value) => sum + value, 0) / ms.length / 1000;
  if (name === "max") return ms.reduce((a, b) => Math.max(a, b)) / 1000;
  const percent = Number(name.slice(1));
  // In whole numbers: 0.95 * 20 is a little more than 19 in binary, and its ceiling would be one rank too high.
  const rank = Math.ceil((percent * ms.length) / 100);
  return ms.toSorted((a, b) => a - b)[rank - 1]! / 1000;
}
