import type { EventJson } from "../../sources/canonical-event.js";
import {
  type Contact,
  converse,
  createJournal,
  type Outbound,
  send,
  type TrafficTotals,
} from "./lifecycle.js";
import { createRandom, type Random } from "./random.js";
import { channels, type Template, templates, weekdayWeights } from "./shop.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const CONTACTS = 8_000;
/** Of all conversations, how many the customer begins. */
const UNPROMPTED_SHARE = 0.05;

interface Day {
  start: number;
  /** 0 is Sunday. */
  weekday: number;
}

/** The last 30 full days (UTC) before `now`, in milliseconds since 1970. */
export function demoPeriod(now: number): { from: number; to: number } {
  const to = Math.floor(now / DAY_MS) * DAY_MS;
  return { from: to - 30 * DAY_MS, to };
}

/**
 * A month of a shop's traffic: campaigns that leave at once, order messages by day and hour, delays with long tails,
 * failures, replies and answers. Makes exactly `messages` messages, inbound ones included, all of whose events lie in
 * [`from`, `to`) (milliseconds since 1970, UTC midnights). The same options give the same events; no two are equal.
 */
export function generateTraffic(options: {
  seed: number;
  messages: number;
  from: number;
  to: number;
  accountId: string;
}): { events: EventJson[]; totals: TrafficTotals } {
  const random = createRandom(options.seed);
  const journal = createJournal(options);
  const days: Day[] = [];
  for (let start = options.from; start < options.to; start += DAY_MS)
    days.push({ start, weekday: new Date(start).getUTCDay() });

  while (journal.hasRoomAt(options.from)) {
    const contact = contactOf(random);
    if (random.chance(UNPROMPTED_SHARE)) {
      converse(
        journal,
        random,
        contact,
        timeOfDay(random, random.pick(days, weekdayWeight), templates[0]!.hours),
      );
      continue;
    }
    const template = random.pick(templates, ({ share }) => share);
    const { messageId, readAt } = send(journal, random, notification(random, template, contact, days));
    if (readAt !== undefined && random.chance(template.replyShare))
      converse(journal, random, contact, readAt + random.logNormal(4 * MINUTE_MS, 1.6), messageId);
  }
  return { events: journal.events, totals: journal.totals };
}

/** Few contacts hear from the shop often, most of them seldom; each always through the same number. */
function contactOf(random: Random): Contact {
  const contact = Math.floor(random.next() ** 1.7 * CONTACTS);
  const channel = createRandom(contact).pick(channels, ({ share }) => share);
  // The area code 555 belongs to nobody.
  const phone = `1555${1_000_000 + contact * 7}`;
  return { channel_id: channel.id, contact_id: phone, chat_id: phone };
}

function notification(random: Random, template: Template, contact: Contact, days: Day[]): Outbound {
  const { name, category, campaign } = template;
  const campaignDays = campaign ? days.filter(({ weekday }) => weekday === campaign.weekday) : [];
  const day = random.pick(campaignDays.length > 0 ? campaignDays : days, weekdayWeight);
  const senderFacts = {
    chat_kind: "direct" as const,
    content_kind: "template",
    template: { name, language: contact.channel_id === "shop-eu" ? "de" : "en", category },
  };
  if (!campaign)
    return {
      at: timeOfDay(random, day, template.hours),
      contact,
      template,
      senderFacts: { ...senderFacts, origin: "automation" },
    };
  return {
    // A campaign leaves within minutes: as fast as the number's tier allows.
    at: day.start + campaign.hour * HOUR_MS + random.next() * 25 * MINUTE_MS,
    contact,
    template,
    senderFacts: {
      ...senderFacts,
      origin: "campaign",
      campaign_id: `${campaign.id}-${new Date(day.start).toISOString().slice(0, 10)}`,
      tags: ["marketing"],
    },
  };
}

const hoursOfDay = Array.from({ length: 24 }, (_, hour) => hour);
const weekdayWeight = ({ weekday }: Day): number => weekdayWeights[weekday]!;

function timeOfDay(random: Random, day: Day, hours: readonly number[]): number {
  return day.start + random.pick(hoursOfDay, (hour) => hours[hour]!) * HOUR_MS + random.next() * HOUR_MS;
}

/**
 * The events in the order in which a real system meets them: many overtake each other by minutes, a few come days late,
 * and every twentieth comes twice, the second time hours or days after the first.
 */
export function disturb(events: readonly EventJson[], seed: number): EventJson[] {
  const random = createRandom(seed);
  const arrivals: { at: number; event: EventJson }[] = [];
  for (const event of events) {
    const delay = random.chance(0.03) ? random.next() * 4 * DAY_MS : random.next() * 10 * MINUTE_MS;
    const at = Date.parse(event.occurred_at) + delay;
    arrivals.push({ at, event });
    if (random.chance(0.05)) arrivals.push({ at: at + random.next() * 2 * DAY_MS, event });
  }
  return arrivals.sort((a, b) => a.at - b.at).map(({ event }) => event);
}
