import fc from "fast-check";
import { type EventJson, type EventType, timeQualities } from "../../src/sources/canonical-event.js";

/**
 * Days on which the clocks change: Berlin on 30 March and 26 October 2025, Lord Howe (by half an hour) on 6 April and
 * 5 October. Nearly all times of a history lie in one of these windows.
 */
export const historyWindows = [
  { from: "2025-03-28T00:00:00Z", to: "2025-04-08T00:00:00Z" },
  { from: "2025-10-03T00:00:00Z", to: "2025-10-28T00:00:00Z" },
] as const;

const SLOT_MS = 15 * 60_000;
const HOUR_MS = 3_600_000;

const outboundStages = ["queued", "accepted", "sent", "delivered", "read", "played"] as const;

/** Texts that a careless SQL or COPY layer would mangle are among the values. */
const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const templateNames = ["offer", "order_update", 'spring "sale"', "it's\\n,{}", "grüße 🌿", "tab\tnull\\N"];

const facts = fc.record(
  {
    channel_id: oneOf("c1", "c2", "c,3"),
    contact_id: oneOf("4915550001", "4915550002", "k'3"),
    chat_id: oneOf("4915550001", "4915550002"),
    chat_kind: fc.constant("direct" as const),
    content_kind: oneOf("text", "image", "template"),
    text_length: fc.nat(4096),
    reply_to: oneOf("m0", "m1"),
    origin: oneOf("human", "bot", "campaign"),
    agent_id: oneOf("ann", "bo"),
    template: fc.record(
      { name: oneOf(...templateNames), language: oneOf("de", "en"), category: oneOf("utility", "marketing") },
      { requiredKeys: ["name"] },
    ),
    campaign_id: oneOf("spring", "autumn"),
    tags: fc.array(oneOf("vip", "new", "a b"), { maxLength: 3 }),
    pricing: fc.record(
      { billable: fc.boolean(), category: oneOf("utility", "service") },
      { requiredKeys: [] },
    ),
    interactive: fc.record({ kind: fc.constant("button"), id: oneOf("yes", "no") }),
  },
  { requiredKeys: [] },
);

const errors = fc.record(
  { code: oneOf<string | number>(131026, 131049, "131047"), class: oneOf("recipient", "pacing", "window") },
  { requiredKeys: ["code"] },
);

/** From before the previous stage (clocks that disagree) over none at all to days. */
const delays = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 90_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 * HOUR_MS }) },
  { weight: 1, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: -20_000, max: -1 }) },
  { weight: 1, arbitrary: fc.integer({ min: 12 * HOUR_MS, max: 60 * HOUR_MS }) },
);

/** Mostly near the edge of a quarter of an hour. */
export const startTimes = oneOf<(typeof historyWindows)[number]>(...historyWindows).chain(({ from, to }) => {
  const slots = (Date.parse(to) - Date.parse(from)) / SLOT_MS;
  const inSlot = fc.oneof(oneOf(-1, 0, 1, SLOT_MS - 1), fc.nat(SLOT_MS - 1));
  return fc
    .tuple(fc.integer({ min: 1, max: slots - 1 }), inSlot)
    .map(([slot, ms]) => Date.parse(from) + slot * SLOT_MS + ms);
});

/** Mostly the provider's word; null leaves the field out, which means the same. */
const qualities = fc.oneof(
  { weight: 6, arbitrary: fc.constant(null) },
  { weight: 2, arbitrary: oneOf(...timeQualities) },
);

interface Step {
  type: EventType;
  delay: number;
  quality: (typeof timeQualities)[number] | null;
  /** What this event says otherwise than the message's own facts, or nothing at all about them. */
  says: "nothing" | "base" | "other";
  other: Partial<EventJson>;
  error: EventJson["error"] | null;
  explicitDirection: boolean;
}

const stepOf = (types: fc.Arbitrary<EventType>): fc.Arbitrary<Step> =>
  fc.record({
    type: types,
    delay: delays,
    quality: qualities,
    says: fc.oneof(
      { weight: 3, arbitrary: fc.constant("base" as const) },
      { weight: 2, arbitrary: fc.constant("nothing" as const) },
      { weight: 1, arbitrary: fc.constant("other" as const) },
    ),
    other: facts,
    error: fc.option(errors, { freq: 5 }),
    explicitDirection: fc.boolean(),
  });

/** The stages of one message in their order: skipped ones, a failure here and there, repeats, and what is no stage. */
const outboundSteps = fc
  .tuple(
    fc.subarray([...outboundStages], { minLength: 0 }),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.constant(["failed"] as const) },
    ),
    fc.array(oneOf(...outboundStages, "failed" as const), { maxLength: 2 }),
    fc.array(oneOf("edited" as const, "revoked" as const, "deleted" as const), { maxLength: 1 }),
  )
  .map((parts) => parts.flat().map((stage): EventType => `message.${stage}`));
const inboundSteps = fc
  .array(oneOf("edited" as const, "revoked" as const, "received" as const), { maxLength: 2 })
  .map((more) => ["received" as const, ...more].map((stage): EventType => `message.${stage}`));
/** One id used in both directions, as careless gateways do: the direction is a fact like any other. */
const mixedSteps = fc.constant<EventType[]>(["message.received", "message.sent", "message.read"]);

const messagePlans = fc
  .oneof(
    { weight: 8, arbitrary: outboundSteps },
    { weight: 3, arbitrary: inboundSteps },
    { weight: 1, arbitrary: mixedSteps },
  )
  .chain((types) =>
    fc.record({
      start: startTimes,
      base: facts,
      /** Stages at the very same instant, as with WhatsApp's whole seconds. Such a message has one opinion only. */
      tied: fc.boolean().map((value) => value && new Set(types).size === types.length),
      steps: fc.tuple(...types.map((type) => stepOf(fc.constant(type)))),
      format: oneOf("utc", "offset", "micros"),
    }),
  );
type MessagePlan = Parameters<Parameters<typeof messagePlans.map>[0]>[0];

function eventsOf(accountId: string, messageId: string, plan: MessagePlan): EventJson[] {
  const mixed = new Set(plan.steps.map((step) => directionOf(step.type))).size > 1;
  const tied = plan.tied && !mixed;
  const taken = new Set<number>();
  let time = plan.start;
  return plan.steps.map((step) => {
    if (tied) time += Math.round(step.delay / 60_000) * 1000;
    else {
      time += step.delay;
      while (taken.has(time)) time += 1;
      taken.add(time);
    }
    const says = tied && step.says === "other" ? "base" : step.says;
    const direction = directionOf(step.type);
    return {
      account_id: accountId,
      message_id: messageId,
      type: step.type,
      occurred_at: written(time, plan.format),
      ...(step.quality && !tied ? { time_quality: step.quality } : {}),
      ...(says === "base" ? plan.base : says === "other" ? step.other : {}),
      ...(direction && step.explicitDirection ? { direction } : {}),
      ...(step.type === "message.failed" && step.error ? { error: step.error } : {}),
    };
  });
}

function directionOf(type: EventType): "inbound" | "outbound" | undefined {
  if (type === "message.received") return "inbound";
  const named: string[] = [...outboundStages, "failed"];
  return named.includes(type.slice("message.".length)) ? "outbound" : undefined;
}

/** The same instant in the forms that RFC 3339 allows; digits beyond milliseconds are cut off by whoever reads them. */
function written(time: number, format: string): string {
  if (format === "micros") return new Date(time).toISOString().replace("Z", "987Z");
  if (format === "offset") return new Date(time + 2 * HOUR_MS).toISOString().replace("Z", "+02:00");
  return new Date(time).toISOString();
}

/** What happens around messages and must not make or change one. */
const bystanders = (accountId: string): fc.Arbitrary<EventJson> =>
  fc.record({ messageId: oneOf("m0", "m1", "none"), start: startTimes, kind: fc.nat(2) }).map((plan) => {
    const shared = {
      account_id: accountId,
      occurred_at: new Date(plan.start).toISOString(),
      channel_id: "elsewhere",
    };
    if (plan.kind === 0) return { ...shared, type: "preference.changed", contact_id: "4915550001" };
    if (plan.kind === 1) return { ...shared, type: "channel.changed" };
    const reaction = { target: plan.messageId, emoji: "👍" };
    return {
      ...shared,
      type: "reaction.added",
      message_id: plan.messageId,
      contact_id: "4915550001",
      reaction,
    };
  });

/**
 * Small histories of one account (1–40 messages) with everything that goes wrong in real ones: skipped and repeated
 * stages, contradicting failures and facts, clocks that disagree, times of all qualities, missing facts. No two events of
 * a message that differ in an opinion share a millisecond, so every history has one definite meaning.
 * To test several accounts, merge several histories.
 */
export const eventHistories = (accountId: string): fc.Arbitrary<EventJson[]> =>
  fc
    .tuple(
      fc.array(messagePlans, { minLength: 1, maxLength: 40 }),
      fc.array(bystanders(accountId), { maxLength: 4 }),
    )
    .map(([plans, others]) => [
      ...plans.flatMap((plan, index) => eventsOf(accountId, `m${index}`, plan)),
      ...others,
    ]);

/** The same events in any order, some of them again, cut into batches (none empty). */
export const shuffleSplitDuplicate = (events: readonly EventJson[]): fc.Arbitrary<EventJson[][]> =>
  fc
    .subarray([...events])
    .chain((again) => {
      const all = [...events, ...again];
      return fc.tuple(
        fc.shuffledSubarray(all, { minLength: all.length }),
        fc.subarray(Array.from({ length: Math.max(0, all.length - 1) }, (_, index) => index + 1)),
      );
    })
    .map(([shuffled, cuts]) =>
      [0, ...cuts].map((start, index) => shuffled.slice(start, cuts[index] ?? shuffled.length)),
    )
    .map((batches) => batches.filter((batch) => batch.length > 0));
