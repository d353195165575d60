import type { EventJson, EventType } from "../../sources/canonical-event.js";
import type { Random } from "./random.js";
import { agents, type Failure, failuresAfterSent, freeFormKinds, rejections, type Template } from "./shop.js";

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

const REJECTED_SHARE = 0.03;
const SERVICE_DELIVERED_SHARE = 0.985;
const SERVICE_READ_SHARE = 0.86;

/** What the generator knows about its own messages, by the definitions of the metrics. */
export interface TrafficTotals {
  attempted: number;
  sent: number;
  delivered: number;
  read: number;
  failed: number;
  received: number;
}

export type Journal = ReturnType<typeof createJournal>;

/** Collects events up to `to` and drops later ones: a message sent in the last minutes is still unread. */
export function createJournal(options: { seed: number; messages: number; to: number; accountId: string }) {
  const events: EventJson[] = [];
  const totals: TrafficTotals = { attempted: 0, sent: 0, delivered: 0, read: 0, failed: 0, received: 0 };
  let count = 0;
  return {
    events,
    totals,
    hasRoomAt: (time: number): boolean => count < options.messages && time < options.to,
    newMessageId: (): string => `wamid.demo-${options.seed.toString(36)}-${(count++).toString(36)}`,
    /** Says whether it happened in time. */
    add(type: EventType, at: number, messageId: string, facts: Partial<EventJson>): boolean {
      if (at >= options.to) return false;
      const occurred_at = new Date(at).toISOString();
      events.push({ account_id: options.accountId, type, message_id: messageId, occurred_at, ...facts });
      return true;
    },
  };
}

/** Who is written to, through which number: the facts that every event of a message repeats. */
export interface Contact {
  channel_id: string;
  contact_id: string;
  chat_id: string;
}

export interface Outbound {
  at: number;
  contact: Contact;
  /** None for a free-form answer. */
  template: Template | undefined;
  /** What only the sender knows; no status from WhatsApp carries it. */
  senderFacts: Partial<EventJson>;
}

/** One message on its way from the queue to its fate. `readAt` is there if it was read in time. */
export function send(journal: Journal, random: Random, { at, contact, template, senderFacts }: Outbound) {
  const messageId = journal.newMessageId();
  const add = (type: EventType, time: number, facts: Partial<EventJson> = {}) =>
    journal.add(type, time, messageId, { ...contact, ...facts });
  const { totals } = journal;

  add("message.queued", at, senderFacts);
  totals.attempted++;
  const acceptedAt = at + random.logNormal(250, 0.8);
  if (random.chance(REJECTED_SHARE)) {
    if (add("message.failed", acceptedAt, errorOf(rejections, random))) totals.failed++;
    return { messageId, readAt: undefined };
  }
  add("message.accepted", acceptedAt);
  const sentAt = acceptedAt + random.logNormal(0.9 * SECOND_MS, 0.7);
  if (!add("message.sent", sentAt, pricingOf(template))) return { messageId, readAt: undefined };
  totals.sent++;

  if (!random.chance(template?.deliveredShare ?? SERVICE_DELIVERED_SHARE)) {
    const failures = failuresAfterSent[template?.category ?? "service"];
    // The others stay pending: WhatsApp never reports on them.
    const failedAt = sentAt + random.logNormal(4 * SECOND_MS, 1);
    if (random.chance(0.65) && add("message.failed", failedAt, errorOf(failures, random))) totals.failed++;
    return { messageId, readAt: undefined };
  }
  return { messageId, readAt: arrive(add, totals, random, sentAt, template, senderFacts) };
}

function arrive(
  add: (type: EventType, time: number) => boolean,
  totals: TrafficTotals,
  random: Random,
  sentAt: number,
  template: Template | undefined,
  { content_kind }: Partial<EventJson>,
): number | undefined {
  const phoneIsOff = random.chance(0.04);
  const deliveredAt =
    sentAt + random.logNormal(phoneIsOff ? 2 * HOUR_MS : 2.2 * SECOND_MS, phoneIsOff ? 1.2 : 0.9);
  const willBeRead = random.chance(template?.readShare ?? SERVICE_READ_SHARE);
  // With the chat open on the phone, WhatsApp reports the read only.
  const chatIsOpen = willBeRead && random.chance(0.07);
  const readAt = chatIsOpen ? deliveredAt : deliveredAt + random.logNormal(9 * MINUTE_MS, 1.9);

  const wasDelivered = !chatIsOpen && add("message.delivered", deliveredAt);
  const wasRead = willBeRead && add("message.read", readAt);
  if (wasDelivered || wasRead) totals.delivered++;
  if (!wasRead) return undefined;
  totals.read++;
  if (content_kind === "audio" && random.chance(0.8))
    add("message.played", readAt + random.logNormal(8 * SECOND_MS, 0.8));
  return readAt;
}

/** The customer writes, once or a few times, and mostly somebody answers; now and then it goes on. */
export function converse(
  journal: Journal,
  random: Random,
  contact: Contact,
  at: number,
  replyTo?: string,
): void {
  let time = at;
  let citing = replyTo;
  do {
    const bursts = 1 + (random.chance(0.3) ? 1 : 0) + (random.chance(0.1) ? 1 : 0);
    for (let burst = 0; burst < bursts; burst++) {
      if (!journal.hasRoomAt(time)) return;
      const cites = citing !== undefined && random.chance(0.5) ? { reply_to: citing } : {};
      journal.add("message.received", time, journal.newMessageId(), {
        ...contact,
        ...freeForm(random),
        ...cites,
      });
      journal.totals.received++;
      citing = undefined;
      time += random.logNormal(12 * SECOND_MS, 0.8);
    }
    const answeredAt = time + random.logNormal(6 * MINUTE_MS, 1.3);
    if (!random.chance(0.8) || !journal.hasRoomAt(answeredAt)) return;
    const byBot = random.chance(0.35);
    const answer = send(journal, random, {
      at: byBot ? time + random.logNormal(SECOND_MS, 0.4) : answeredAt,
      contact,
      template: undefined,
      senderFacts: {
        ...freeForm(random),
        ...(byBot ? { origin: "bot" } : { origin: "human", agent_id: random.pick(agents) }),
      },
    });
    if (answer.readAt === undefined) return;
    citing = answer.messageId;
    time = answer.readAt + random.logNormal(2 * MINUTE_MS, 1.2);
  } while (random.chance(0.35));
}

function freeForm(random: Random): Partial<EventJson> {
  const { kind } = random.pick(freeFormKinds, ({ share }) => share);
  const chat_kind = "direct";
  if (kind !== "text") return { chat_kind, content_kind: kind };
  return {
    chat_kind,
    content_kind: kind,
    text_length: 1 + Math.min(4_000, Math.floor(random.logNormal(45, 0.9))),
  };
}

function errorOf(failures: readonly Failure[], random: Random): Partial<EventJson> {
  const { code, class: errorClass, title } = random.pick(failures, ({ share }) => share);
  return { error: { code, class: errorClass, title } };
}

function pricingOf(template: Template | undefined): Partial<EventJson> {
  const category = template?.category ?? "service";
  const type = template ? "regular" : "free_customer_service";
  return { pricing: { billable: template !== undefined, model: "PMP", category, type } };
}
