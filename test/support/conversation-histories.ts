import fc from "fast-check";
import type { EventJson, TimeQuality } from "../../src/sources/canonical-event.js";

/** A month ends in it, and the clocks of Berlin change. */
export const conversationDays = { from: "2025-03-28T00:00:00Z", to: "2025-04-04T00:00:00Z" } as const;
const WINDOW_FROM = Date.parse("2025-03-29T12:00:00Z");
const WINDOW_HOURS = 96;
const HOUR_MS = 3_600_000;

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const often = <T>(weight: number, value: fc.Arbitrary<T>, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight, arbitrary: value }, { weight: 1, arbitrary: other });

type Facts = Partial<EventJson>;

const places: fc.Arbitrary<Facts> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Facts>({ chat_id: "anna", chat_kind: "direct", contact_id: "anna" }) },
  { weight: 3, arbitrary: fc.constant<Facts>({ contact_id: "béla" }) },
  {
    weight: 2,
    arbitrary: oneOf<Facts>({ chat_id: "team", chat_kind: "group", contact_id: "cem" }, { chat_id: "team" }),
  },
  { weight: 1, arbitrary: oneOf<Facts>({ chat_id: "béla" }, {}) },
);
const channels: fc.Arbitrary<Facts> = often(
  6,
  fc.constant<Facts>({ channel_id: "c1" }),
  oneOf<Facts>({ channel_id: "c2" }, {}),
);
const speakers: fc.Arbitrary<Facts> = fc.oneof(
  {
    weight: 3,
    arbitrary: oneOf<Facts>(
      { origin: "human", agent_id: "ann" },
      { origin: "human", agent_id: "bo" },
      { agent_id: "bo" },
    ),
  },
  {
    weight: 2,
    arbitrary: oneOf<Facts>(
      { origin: "bot" },
      { origin: "automation", agent_id: "ann" },
      { origin: "campaign" },
    ),
  },
  { weight: 1, arbitrary: oneOf<Facts>({ origin: "unknown" }, { origin: "phone_app" }, {}) },
);
const contents: fc.Arbitrary<Facts> = oneOf<Facts>(
  { content_kind: "text" },
  { content_kind: "image" },
  {},
  { content_kind: "template", template: { name: "offer" } },
  { content_kind: "button", interactive: { kind: "button", id: "yes" } },
  { content_kind: "button", interactive: { kind: "button", title: `${"x".repeat(198)}🌿🌿🌿🌿` } },
  { content_kind: "interactive", interactive: { kind: "list" } },
);
const facts = fc
  .tuple(places, channels, speakers, contents)
  .map((parts): Facts => Object.assign({}, ...parts));

/** Many messages on few hours, some at the very same millisecond, some around the turn of the month. */
const times = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(fc.nat(WINDOW_HOURS), oneOf(0, 0, 1, 1_800_000, 3_599_999))
      .map(([hour, ms]) => WINDOW_FROM + hour * HOUR_MS + ms),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.nat(12), oneOf(0, 1, 60_000))
      .map(([hour, ms]) => WINDOW_FROM + 20 * HOUR_MS + hour * HOUR_MS + ms),
  },
  { weight: 1, arbitrary: oneOf(-1, 0, 1).map((ms) => Date.parse("2025-04-01T00:00:00Z") + ms) },
);

const inbound = oneOf<EventJson["type"][]>(["message.received"], ["message.received", "message.received"]);
const outbound = oneOf<EventJson["type"][]>(
  ["message.sent"],
  ["message.queued", "message.sent", "message.delivered"],
  ["message.sent", "message.read"],
  ["message.delivered", "message.sent"],
  ["message.sent", "message.failed"],
  ["message.failed"],
  ["message.sent", "message.failed", "message.delivered"],
);

const plans = fc.record({
  types: fc.oneof({ weight: 5, arbitrary: inbound }, { weight: 4, arbitrary: outbound }),
  at: times,
  facts,
  /** What the last event says otherwise, and how well it knows. */
  other: fc.option(facts, { freq: 4 }),
  otherDirection: fc.option(oneOf("inbound" as const, "outbound" as const, "none" as const), { freq: 12 }),
  quality: oneOf<TimeQuality>("provider", "observed"),
  delays: fc.array(oneOf(7, 1_000, 40_000, 2 * HOUR_MS), { minLength: 3, maxLength: 3 }),
  repliesTo: fc.option(fc.nat(8), { freq: 6 }),
});
type Plan = Parameters<Parameters<typeof plans.map>[0]>[0];

/** Ids whose order by code points is neither that of a language nor that of UTF-16. */
const idOf = (index: number) => `${["a", "B", "é", "z", "\uffee", "😀"][index % 6]}${index}`;

function eventsOf(accountId: string, index: number, plan: Plan): EventJson[] {
  let time = plan.at;
  return plan.types.map((type, nth) => {
    if (nth > 0) time += plan.delays[nth]!;
    const isLast = nth === plan.types.length - 1 && nth > 0;
    const changed = isLast && plan.other;
    return {
      account_id: accountId,
      message_id: idOf(index),
      type,
      occurred_at: new Date(time).toISOString(),
      ...(changed
        ? { ...plan.other, time_quality: "provider" }
        : { ...plan.facts, time_quality: plan.quality }),
      ...(isLast && plan.otherDirection ? { direction: plan.otherDirection } : {}),
      ...(type === "message.received" && plan.repliesTo !== null ? { reply_to: idOf(plan.repliesTo) } : {}),
    };
  });
}

/**
 * A few chats on two channels whose messages come in any order: so close that a late one joins two conversations, with
 * failures that turn out to have arrived, and facts that better sources correct later.
 */
export const conversationHistories = (accountId: string): fc.Arbitrary<EventJson[]> =>
  fc
    .array(plans, { minLength: 1, maxLength: 30 })
    .map((all) => all.flatMap((plan, index) => eventsOf(accountId, index, plan)));

const MINUTE_MS = 60_000;
/** Three messages that are one conversation by this gap only as long as the second of them is there, and was sent. */
const bridges = fc.record({
  hour: fc.nat(WINDOW_HOURS),
  gapMinutes: oneOf(60, 180),
  fails: fc.boolean(),
});

function bridgeEvents(
  accountId: string,
  index: number,
  bridge: Parameters<Parameters<typeof bridges.map>[0]>[0],
) {
  const place = { account_id: accountId, chat_id: `bridged ${index}`, channel_id: "c1" };
  const event = (nth: number, type: EventJson["type"], delayMs = 0): EventJson => ({
    ...place,
    type,
    message_id: `bridge ${index} ${nth}`,
    occurred_at: new Date(
      WINDOW_FROM + bridge.hour * HOUR_MS + nth * (bridge.gapMinutes - 10) * MINUTE_MS + delayMs,
    ).toISOString(),
  });
  return [
    event(0, "message.received"),
    event(1, "message.sent"),
    ...(bridge.fails ? [event(1, "message.failed", 1_000)] : []),
    event(2, "message.received"),
  ];
}

/** The same, with chats that become one conversation or two when one event comes late, as any of them may. */
export const bridgedHistories = (accountId: string): fc.Arbitrary<EventJson[]> =>
  fc
    .tuple(conversationHistories(accountId), fc.array(bridges, { minLength: 8, maxLength: 12 }))
    .map(([history, all]) => [
      ...history,
      ...all.flatMap((bridge, index) => bridgeEvents(accountId, index, bridge)),
    ]);
