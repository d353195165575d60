/**
 * Conversations once more, by brute force: the yardstick for what the service builds from messages with SQL. Plain and
 * slow on purpose, and it shares no code with `src`, so the definitions are spelled out here:
 *
 * - A chat is what has one chat id (else contact id) on one channel. Inbound and outbound messages with a chat take part,
 *   unless all that is known of an outbound one in the end is that it failed.
 * - Messages follow each other by anchor, in whole milliseconds, then by message id, code point by code point.
 * - A conversation ends where the next message comes later than the gap, and with the month (UTC).
 * - By the lens `any` every outbound message answers; by `human` those of bots, automations and campaigns are not there.
 * - A turn is a run of inbound messages; its answer is the outbound message after it, within the conversation.
 */
import type { EventJson } from "../../src/sources/canonical-event.js";
import { stepsOf } from "./oracle-flows.js";
import { groupBy, type OracleMessage, oracleMessages } from "./oracle-messages.js";
import { type OracleCalendar, openMsByMinutes } from "./oracle-open-hours.js";

export interface OracleRules {
  gapMs: number;
  replyWindowMs: number;
  slaMs: number;
  calendar?: OracleCalendar | undefined;
}

export const lenses = ["any", "human"] as const;
export type Lens = (typeof lenses)[number];

export interface OracleTurn {
  lens: Lens;
  /** How many answers came before. */
  slot: number;
  started_at: number;
  last_at: number;
  answered_at: number | null;
  agent_id: string | null;
  is_first: boolean;
  is_in_window: boolean;
  is_in_sla_elapsed: boolean;
  is_in_sla_business: boolean | null;
  first_business_ms: number | null;
  last_business_ms: number | null;
}

export interface OracleConversation {
  chat: string;
  channel_id: string | null;
  chat_kind: string | null;
  contact_id: string | null;
  started_at: number;
  ended_at: number;
  started_by: string;
  inbound: number;
  outbound: number;
  steps: string[];
  outcome: Record<Lens, string>;
  waiting: Record<Lens, { elapsed: number | null; business: number | null }>;
  turns: OracleTurn[];
}

const automatic = ["bot", "automation", "campaign"];

const chatOf = ({ facts }: OracleMessage) => facts.chat?.chat_id ?? facts.contact_id;

function takesPart(message: OracleMessage): boolean {
  if (chatOf(message) === undefined) return false;
  if (message.facts.direction === "inbound") return true;
  return message.facts.direction === "outbound" && !message.terminalFailed;
}

function inOrder(a: OracleMessage, b: OracleMessage): number {
  const isOurs = ({ facts }: OracleMessage) => Number(facts.direction === "outbound");
  return (
    a.anchor - b.anchor ||
    isOurs(a) - isOurs(b) ||
    Buffer.compare(Buffer.from(a.message_id), Buffer.from(b.message_id))
  );
}

/** The messages of each chat that take part, in their order. */
export function chats(events: readonly EventJson[]): OracleMessage[][] {
  const taking = [...oracleMessages(events).values()].filter(takesPart);
  const byChat = groupBy(taking, (message) =>
    JSON.stringify([chatOf(message), message.facts.channel_id ?? null]),
  );
  return [...byChat.values()].map((own) => own.toSorted(inOrder));
}

export function oracleConversations(events: readonly EventJson[], rules: OracleRules): OracleConversation[] {
  return chats(events).flatMap((own) => cut(own, rules.gapMs).map((part) => conversationOf(part, rules)));
}

function cut(messages: OracleMessage[], gapMs: number): OracleMessage[][] {
  const month = (message: OracleMessage) => new Date(message.anchor).toISOString().slice(0, 7);
  const parts: OracleMessage[][] = [];
  for (const [index, message] of messages.entries()) {
    const before = messages[index - 1];
    if (before && message.anchor - before.anchor <= gapMs && month(before) === month(message))
      parts.at(-1)!.push(message);
    else parts.push([message]);
  }
  return parts;
}

function conversationOf(messages: OracleMessage[], rules: OracleRules): OracleConversation {
  const [first, last] = [messages[0]!, messages.at(-1)!];
  const by = Object.fromEntries(lenses.map((lens) => [lens, turnsOf(messages, lens, rules)])) as Record<
    Lens,
    OracleTurn[]
  >;
  const per = <T>(make: (turns: OracleTurn[]) => T) => ({ any: make(by.any), human: make(by.human) });
  const count = (direction: string) =>
    messages.filter((message) => message.facts.direction === direction).length;
  const firstKnown = (read: (message: OracleMessage) => string | undefined) =>
    messages.map(read).find((value) => value !== undefined) ?? null;
  return {
    chat: chatOf(first)!,
    channel_id: first.facts.channel_id ?? null,
    chat_kind: firstKnown(({ facts }) => facts.chat?.chat_kind),
    contact_id: firstKnown(({ facts }) => facts.contact_id),
    started_at: first.anchor,
    ended_at: last.anchor,
    started_by: first.facts.direction!,
    inbound: count("inbound"),
    outbound: count("outbound"),
    steps: stepsOf(messages),
    outcome: per(outcomeOf),
    waiting: per((turns) => ({
      elapsed: sumOf(turns.map((turn) => elapsed(turn.started_at, turn.answered_at))),
      business: sumOf(turns.map((turn) => turn.first_business_ms)),
    })),
    turns: [...by.any, ...by.human],
  };
}

function turnsOf(messages: OracleMessage[], lens: Lens, rules: OracleRules): OracleTurn[] {
  const isAnswer = ({ facts }: OracleMessage) =>
    lens === "any" || !automatic.includes(facts.origin?.origin ?? "");
  const sequence = messages.filter((message) => message.facts.direction === "inbound" || isAnswer(message));
  const turns: OracleTurn[] = [];
  let run: OracleMessage[] = [];
  let answers = 0;
  const end = (answer: OracleMessage | undefined) => {
    if (run.length > 0)
      turns.push(
        turnOf(run, answer, rules, {
          lens,
          slot: answers,
          is_first: answers === 0 && messages[0]!.facts.direction === "inbound",
        }),
      );
    run = [];
  };
  for (const message of sequence)
    if (message.facts.direction === "inbound") run.push(message);
    else {
      end(message);
      answers++;
    }
  end(undefined);
  return turns;
}

function turnOf(
  run: OracleMessage[],
  answer: OracleMessage | undefined,
  rules: OracleRules,
  place: Pick<OracleTurn, "lens" | "slot" | "is_first">,
): OracleTurn {
  const [startedAt, lastAt] = [run[0]!.anchor, run.at(-1)!.anchor];
  const answeredAt = answer?.anchor ?? null;
  const waited = elapsed(startedAt, answeredAt);
  const open = (from: number) =>
    answeredAt === null || !rules.calendar ? null : openMsByMinutes(rules.calendar, from, answeredAt);
  const business = open(startedAt);
  return {
    ...place,
    started_at: startedAt,
    last_at: lastAt,
    answered_at: answeredAt,
    agent_id: answer?.facts.origin?.agent_id ?? null,
    is_in_window: waited !== null && waited <= rules.replyWindowMs,
    is_in_sla_elapsed: waited !== null && waited <= rules.slaMs,
    is_in_sla_business: business === null ? null : business <= rules.slaMs,
    first_business_ms: business,
    last_business_ms: open(lastAt),
  };
}

const elapsed = (from: number, to: number | null) => (to === null ? null : to - from);

function sumOf(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0);
}

function outcomeOf(turns: OracleTurn[]): string {
  if (turns.length === 0) return "no_reply";
  if (turns.every((turn) => turn.answered_at === null)) return "unanswered";
  return turns.at(-1)!.answered_at === null ? "abandoned" : "answered";
}
