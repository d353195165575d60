import type { EventJson, TimeQuality } from "../../src/sources/canonical-event.js";

const stages = ["queued", "accepted", "sent", "delivered", "read", "played", "failed", "received"] as const;
export type Stage = (typeof stages)[number];

const qualityRank: Record<TimeQuality, number> = { provider: 0, gateway: 1, observed: 2, inferred: 3 };
const qualityOf = (event: EventJson): TimeQuality => event.time_quality ?? "provider";

/** What belongs together travels together: one event decides the whole value of a fact, if it has the leading part, of `origin` any. */
const factReaders = {
  channel_id: (event: EventJson) => event.channel_id,
  direction: (event: EventJson) =>
    event.direction ?? (event.type === "message.received" ? "inbound" : "outbound"),
  chat: (event: EventJson) =>
    event.chat_id === undefined
      ? undefined
      : together({ chat_id: event.chat_id, chat_kind: event.chat_kind }),
  contact_id: (event: EventJson) => event.contact_id,
  content: (event: EventJson) =>
    event.content_kind === undefined
      ? undefined
      : together({ content_kind: event.content_kind, text_length: event.text_length }),
  reply_to: (event: EventJson) => event.reply_to,
  origin: (event: EventJson) => together({ origin: event.origin, agent_id: event.agent_id }),
  template: (event: EventJson) => event.template,
  campaign_id: (event: EventJson) => event.campaign_id,
  tags: (event: EventJson) => event.tags,
  error: (event: EventJson) => (event.type === "message.failed" ? event.error : undefined),
  pricing: (event: EventJson) => event.pricing,
  interactive: (event: EventJson) => event.interactive,
};
type FactName = keyof typeof factReaders;
type Facts = { [Name in FactName]?: NonNullable<ReturnType<(typeof factReaders)[Name]>> };

const together = <T extends Record<string, unknown>>(value: T): T | undefined =>
  Object.values(value).some((part) => part !== undefined) ? value : undefined;

export interface OracleMessage {
  account_id: string;
  message_id: string;
  /** Known stages with their own times, in milliseconds since 1970. */
  stages: Partial<Record<Stage, number>>;
  trusted: Set<Stage>;
  facts: Facts;
  anchor: number;
  /** Whether WhatsApp itself told the time of the anchor. */
  timedByProvider: boolean;
  isGroup: boolean;
  terminalFailed: boolean;
  contradiction: boolean;
  clockAnomaly: boolean;
  /** The stage events that speak of it. */
  reports: readonly EventJson[];
}

export const oracleKey = (accountId: string, messageId: string): string =>
  JSON.stringify([accountId, messageId]);

/** Every message that the events speak of, by `oracleKey`. */
export function oracleMessages(events: readonly EventJson[]): Map<string, OracleMessage> {
  const byMessage = groupBy(
    events.filter((event) => stageOf(event) !== undefined && event.message_id !== undefined),
    (event) => oracleKey(event.account_id, event.message_id!),
  );
  return new Map([...byMessage].map(([key, own]) => [key, foldOne(own)]));
}

export function groupBy<T>(items: T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}

function stageOf(event: EventJson): Stage | undefined {
  return stages.find((stage) => event.type === `message.${stage}`);
}

function foldOne(events: EventJson[]): OracleMessage {
  const times: Partial<Record<Stage, number>> = {};
  const trusted = new Set<Stage>();
  for (const stage of stages) {
    const own = events.filter((event) => stageOf(event) === stage);
    if (own.length === 0) continue;
    const earliest = Math.min(...own.map(timeOf));
    times[stage] = earliest;
    if (
      own.some((event) => timeOf(event) === earliest && qualityRank[qualityOf(event)] <= qualityRank.gateway)
    )
      trusted.add(stage);
  }
  const facts = foldFacts(events);
  const isGroup = facts.direction === "outbound" && facts.chat?.chat_kind === "group";
  const early = earliestOf(times.queued, times.accepted, times.sent);
  const anchor = early ?? earliestOf(...Object.values(times))!;
  const anchoring = stages.filter((stage) => early === undefined || letGo.includes(stage));
  const message: OracleMessage = {
    account_id: events[0]!.account_id,
    message_id: events[0]!.message_id!,
    stages: times,
    trusted,
    facts,
    anchor,
    timedByProvider: events.some(
      (event) =>
        anchoring.includes(stageOf(event)!) && timeOf(event) === anchor && qualityOf(event) === "provider",
    ),
    isGroup,
    terminalFailed: isFailed(events, isGroup),
    contradiction: !isGroup && events.some(isFailure) && events.some(isArrival),
    clockAnomaly: false,
    reports: events,
  };
  message.clockAnomaly = durations.some(({ from, to }) => (durationMs(message, from, to) ?? 0) < 0);
  return message;
}

const letGo: readonly Stage[] = ["queued", "accepted", "sent"];

export const isArrival = ({ type }: EventJson): boolean =>
  ["message.delivered", "message.read", "message.played"].includes(type);

/**
 * Whether it failed and nothing says that it arrived. In a group that takes a failure for everyone of whom a receipt is
 * known: what fails for one recipient has not failed for the others.
 */
function isFailed(events: EventJson[], isGroup: boolean): boolean {
  if (events.some(isArrival) || !events.some(isFailure)) return false;
  if (!isGroup) return true;
  return recipientsIn(events).every((own) => own.some(isFailure));
}

const isFailure = ({ type }: EventJson): boolean => type === "message.failed";
const receipts = ["message.sent", "message.delivered", "message.read", "message.played", "message.failed"];

/** What is told of each recipient of whom there is any receipt; receipts of inbound messages are our own. */
export function recipientsIn(events: readonly EventJson[]): EventJson[][] {
  const told = events.filter(
    ({ type, participant_id, direction }) =>
      participant_id !== undefined && receipts.includes(type) && direction !== "inbound",
  );
  return [...groupBy(told, ({ participant_id }) => participant_id!).values()];
}

export function timeOf(event: EventJson): number {
  return Date.parse(event.occurred_at);
}

export function earliestOf(...times: (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length > 0 ? Math.min(...known) : undefined;
}

function foldFacts(events: EventJson[]): Facts {
  const facts: Record<string, unknown> = {};
  for (const [name, read] of Object.entries(factReaders)) {
    const carriers = events.filter((event) => read(event) !== undefined);
    if (carriers.length === 0) continue;
    const order = (event: EventJson) => [qualityRank[qualityOf(event)], timeOf(event)] as const;
    const best = carriers.reduce((a, b) => (compare(order(b), order(a)) < 0 ? b : a));
    for (const rival of carriers)
      if (
        compare(order(rival), order(best)) === 0 &&
        JSON.stringify(read(rival)) !== JSON.stringify(read(best))
      )
        throw new Error(`a tie that the oracle cannot break: ${name} of ${best.message_id}`);
    facts[name] = read(best);
  }
  return facts as Facts;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) if (value !== b[index]) return value - b[index]!;
  return 0;
}

export const durations = [
  { metric: "time_to_send", from: "queued", to: "sent" },
  { metric: "time_to_deliver", from: "sent", to: "delivered" },
  { metric: "time_to_read", from: "delivered", to: "read" },
] as const;

/** Undefined where it is not measured; negative where the clocks disagree. */
export function durationMs(message: OracleMessage, from: Stage, to: Stage): number | undefined {
  if (message.facts.direction !== "outbound") return undefined;
  // Each recipient of a group has times of their own.
  if (message.isGroup && (to === "delivered" || to === "read")) return undefined;
  if (!message.trusted.has(from) || !message.trusted.has(to)) return undefined;
  return message.stages[to]! - message.stages[from]!;
}
