/**
 * The metrics once more, by brute force: the yardstick for the fold, the rebuild of conversations and the metrics query,
 * which are SQL. Plain and slow on purpose. It shares no code with them, so the definitions are spelled out here and in
 * the files that it leans on:
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
import { type Contribution, contributions } from "./oracle-contributions.js";
import {
  type ConversationContribution,
  conversationContributions,
  isOfConversations,
  measureConversations,
} from "./oracle-conversation-metrics.js";
import { type Lens, type OracleRules, oracleConversations } from "./oracle-conversations.js";
import { oracleEngagement, oraclePreferences } from "./oracle-engagement.js";
import { isMeasuredInQueue, isOfMessages, levelOf, measureMessages, partsOf } from "./oracle-measures.js";
import { groupBy, type OracleMessage, oracleMessages } from "./oracle-messages.js";
import { type OracleRow, type Place, type Tabulated, tabulate } from "./oracle-table.js";

export { type OracleMessage, oracleKey, oracleMessages } from "./oracle-messages.js";
export type { OracleRow } from "./oracle-table.js";

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
const messageDimensions = Object.keys(oracleDimensions) as OracleDimension[];

const textOf = (code: string | number | undefined) => (code === undefined ? null : String(code));

export interface OracleQuery extends Tabulated {
  account_id: string;
  group_by: (OracleDimension | "started_by" | "agent_id")[];
  basis: "cohort" | "event";
  filters?: { [Name in OracleQuery["group_by"][number]]?: (string | null)[] };
  groups?: "include" | "exclude";
  responders?: Lens;
  clock?: "first" | "last";
  hours?: "elapsed" | "business";
  /** How chats are cut and answered; without these nobody has read the chats, and only replies that name a message count. */
  rules?: OracleRules;
  /** In milliseconds since 1970. */
  now?: number;
}

/** Whether an oracle of messages or of conversations knows the metric; those of contacts are in `oracle-contacts.ts`. */
export const isKnownToOracle = (metric: string): boolean => isOfMessages(metric) || isOfConversations(metric);

interface Counted extends Contribution, Partial<Pick<ConversationContribution, "conversation" | "turn">> {
  labels: { [Name in OracleQuery["group_by"][number]]?: string | null };
  dimensions: (string | null)[];
}

/** What shows a combination, asked for or not. */
const shown = [
  ...["attempted", "sent", "delivered", "read", "played", "failed", "received"].map(
    (word) => `messages_${word}`,
  ),
  ...["conversation", "turn", "answer"],
];

/**
 * The answer of `GET /analytics/metrics`, exactly: no histogram bins. Rows are sorted by bucket, then by the dimensions.
 * With `group_by`, a combination exists where some message, conversation or turn counts in this basis, or anything that is
 * asked for; as a total also while something of it is in the queue, if that is asked for.
 */
export function oracleMetrics(
  events: readonly EventJson[],
  query: OracleQuery,
): { rows: OracleRow[]; totals: OracleRow[] } {
  const showing = new Set([...shown, ...query.metrics.flatMap(partsOf)]);
  const asksQueue = query.metrics.some(isMeasuredInQueue);
  return tabulate(counted(events, query), query, measureIn(query), {
    shows: ({ metric }) => showing.has(metric),
    stands: (upto) => asksQueue && levelOf(upto) > 0,
    ...(query.now !== undefined && { now: query.now }),
  });
}

const measureIn = (query: OracleQuery) => (metric: string, found: Counted[], place: Place<Counted>) =>
  isOfConversations(metric)
    ? measureConversations(metric, found, choicesOf(query))
    : measureMessages(metric, found, place, query.groups ?? "exclude");

const choicesOf = ({ basis, responders = "human", clock = "first", hours = "elapsed" }: OracleQuery) => ({
  basis,
  responders,
  clock,
  hours,
});

/** Everything that counts in this basis and passes the filters, whenever. */
function counted(all: readonly EventJson[], query: OracleQuery): Counted[] {
  const events = all.filter(({ account_id }) => account_id === query.account_id);
  const { rules, group_by } = query;
  const found: Omit<Counted, "dimensions">[] = [];
  if (query.metrics.some(isOfMessages)) {
    const engagement = oracleEngagement(events, rules?.replyWindowMs);
    for (const message of oracleMessages(events).values()) {
      const labels = Object.fromEntries(
        messageDimensions.map((name) => [name, oracleDimensions[name](message)]),
      );
      for (const one of contributions(message, query.basis, engagement(message.message_id)))
        found.push({ ...one, labels });
    }
    for (const { metric, at, channel_id } of oraclePreferences(events))
      found.push({ metric, at, amount: 1, isGroup: false, labels: { channel_id } });
  }
  if (query.metrics.some(isOfConversations) && rules)
    for (const conversation of oracleConversations(events, rules))
      found.push(...conversationContributions(conversation, { ...choicesOf(query), group_by }));
  return found
    .filter(({ labels }) =>
      Object.entries(query.filters ?? {}).every(([name, values]) =>
        values.includes(labels[name as keyof typeof labels] ?? null),
      ),
    )
    .map((one) => ({ ...one, dimensions: group_by.map((name) => one.labels[name] ?? null) }));
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
  const [from, to] = [Date.parse(query.from), Date.parse(query.to)];
  const now = query.now ?? Date.now();
  const cellOf = (instant: number) => {
    const local = DateTime.fromMillis(instant, { zone: query.time_zone });
    return (local.weekday - 1) * 24 + local.hour;
  };
  const asked: OracleQuery = { ...query, metrics: [query.metric], interval: "all", group_by: [] };
  const upto = counted(events, asked).filter(({ at }) => at < to);
  const selected = upto.filter(({ at }) => at >= from);
  const quarters = new Array<number>(7 * 24).fill(0);
  for (let instant = from; instant < to; instant += 900_000) quarters[cellOf(instant)]! += 1;
  const byCell = groupBy(selected, ({ at }) => String(cellOf(at)));
  // Whether the queue is measured is asked of the whole range: a cell has no end.
  const measured = (found: Counted[], spanMs: number, isTotal: boolean) =>
    measureIn(asked)(query.metric, found, { upto: () => upto, spanMs, isTotal, now });
  return {
    cells: quarters.map((count, cell) => ({
      weekday: Math.floor(cell / 24) + 1,
      hour: cell % 24,
      hours: count / 4,
      value: measured(byCell.get(String(cell)) ?? [], (count || 4) * 900_000, false),
    })),
    total: measured(selected, to - from, true),
  };
}
