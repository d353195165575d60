import fc from "fast-check";
import type { EventJson, EventType, TimeQuality } from "../../src/sources/canonical-event.js";
import { startTimes } from "./event-histories.js";

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const written = (time: number) => new Date(time).toISOString();

/** An event of whichever account. */
export type Told = Omit<EventJson, "account_id">;

/** Ids that the histories below make, and one that nobody speaks of. */
const targets = oneOf("m0", "m1", "m2", "m3", "a0", "B1", "é2", "z3", "g0", "g1", "q0", "nobody");

const members = oneOf<EventType[]>(
  ["message.sent"],
  ["message.delivered"],
  ["message.delivered", "message.read"],
  ["message.delivered", "message.delivered"],
  ["message.played"],
  ["message.failed"],
  ["message.failed", "message.delivered"],
);

/** To a group, with receipts of its members, or from one, with receipts that are our own. */
export const groupMessages = fc
  .record({
    at: startTimes,
    first: oneOf<EventType>("message.queued", "message.sent", "message.received"),
    channel: oneOf("c1", "c2"),
    template: oneOf("offer", undefined),
    members: fc.uniqueArray(
      fc.record({ id: oneOf("p1", "p2", "p3", "p4"), types: members, delay: fc.nat(7_200_000) }),
      { maxLength: 4, selector: ({ id }) => id },
    ),
    isTold: fc.boolean(),
    /** Of nobody in particular. */
    whole: fc.option(oneOf<EventType>("message.sent", "message.failed", "message.read"), { freq: 3 }),
  })
  .map(({ at, first, channel, template, members, isTold, whole }) => (id: string): Told[] => {
    const isInbound = first === "message.received";
    const receipts = members.flatMap((member) =>
      member.types.map(
        (type, nth): Told => ({
          type: isInbound ? "message.read" : type,
          message_id: id,
          occurred_at: written(at + 1_000 + member.delay + nth * 60_000),
          participant_id: member.id,
          ...(isInbound || isTold ? { direction: isInbound ? "inbound" : "outbound" } : {}),
          ...(type === "message.failed" && !isInbound ? { error: { code: 131026, class: "recipient" } } : {}),
        }),
      ),
    );
    const group = { chat_id: "team", chat_kind: "group", channel_id: channel } as const;
    return [
      {
        ...{ type: first, message_id: id, occurred_at: written(at), ...group },
        ...(template && { content_kind: "template", template: { name: template } }),
        ...(isInbound ? { participant_id: "p1", contact_id: "p1" } : {}),
      },
      ...receipts,
      ...(whole && !isInbound
        ? [{ type: whole, message_id: id, occurred_at: written(at + 500), direction: "outbound" as const }]
        : []),
    ];
  });

/** Queued more than once, more often than is kept now and then, and left in the queue or not. */
export const queuedMessages = fc
  .record({
    at: startTimes,
    again: fc.oneof(
      { weight: 4, arbitrary: fc.array(fc.integer({ min: -90, max: 90 }), { maxLength: 4 }) },
      { weight: 1, arbitrary: fc.constant(Array.from({ length: 18 }, (_, index) => index + 1)) },
    ),
    quality: oneOf<TimeQuality>("provider", "gateway", "observed"),
    left: fc.option(oneOf<EventType>("message.accepted", "message.sent", "message.failed", "message.read")),
    wait: fc.oneof(fc.nat(7_200_000), fc.integer({ min: -9_000, max: 0 }), fc.constant(-93_600_000)),
    facts: fc.record(
      { channel_id: oneOf("c1", "c2"), campaign_id: oneOf("spring", "autumn") },
      { requiredKeys: [] },
    ),
  })
  .map(({ at, again, quality, left, wait, facts }) => (id: string): Told[] => [
    ...[0, ...again].map(
      (minutes): Told => ({
        ...{ type: "message.queued", message_id: id, occurred_at: written(at + minutes * 60_000) },
        ...{ time_quality: quality, ...facts },
      }),
    ),
    // Half a millisecond cannot be told: a time of its own, so that no two events differ at one.
    ...(left === null ? [] : [{ type: left, message_id: id, occurred_at: written(at + wait + 1) }]),
  ]);

/** At one of a few instants, so that reactions and changes of mind follow each other and meet. */
const moments = fc.oneof(
  oneOf("2025-03-30T00:30:00Z", "2025-03-30T00:30:00.001Z", "2025-03-31T12:00:00Z").map((time) =>
    Date.parse(time),
  ),
  startTimes,
);

export const reactions = fc
  .record({
    at: moments,
    target: targets,
    isRemoved: fc.boolean(),
    author: oneOf<Partial<Told>>(
      { contact_id: "4915550001" },
      { contact_id: "4915550001", participant_id: "p1" },
      { participant_id: "p2" },
      {},
    ),
    direction: oneOf<Told["direction"]>("inbound", undefined, undefined, "outbound"),
    emoji: oneOf("👍", "❤️", undefined),
  })
  .map(
    ({ at, target, isRemoved, author, direction, emoji }): Told => ({
      type: isRemoved ? "reaction.removed" : "reaction.added",
      message_id: `re-${target}`,
      occurred_at: written(at),
      reaction: { target, ...(emoji && !isRemoved ? { emoji } : {}) },
      ...author,
      ...(direction && { direction }),
    }),
  );

/** What a customer writes about a message, told once more with another target now and then. */
export const replies = fc
  .record({
    at: startTimes,
    target: targets,
    other: fc.option(targets, { freq: 4 }),
    content: oneOf<Partial<Told>>(
      { content_kind: "text" },
      { content_kind: "button", interactive: { kind: "button", id: "yes" } },
      { content_kind: "interactive" },
      { interactive: { kind: "list", id: "no" } },
    ),
    place: oneOf<Partial<Told>>({ chat_id: "anna", channel_id: "c1" }, { contact_id: "4915550001" }, {}),
  })
  .map(
    ({ at, target, other, content, place }) =>
      (id: string): Told[] =>
        [target, ...(other ? [other] : [])].map((reply_to, nth) => ({
          ...{ type: "message.received", message_id: id, occurred_at: written(at + nth * 5_000), reply_to },
          ...{ ...content, ...place },
        })),
  );

export const preferences = fc
  .record({
    at: moments,
    contact: oneOf("4915550001", "4915550002", undefined),
    channel: oneOf("c1", "c2", undefined),
    value: oneOf("stop", "stop", "resume", "other"),
    kind: oneOf("marketing_messages", "all"),
  })
  .map(
    ({ at, contact, channel, value, kind }): Told => ({
      type: "preference.changed",
      occurred_at: written(at),
      ...(contact && { contact_id: contact }),
      ...(channel && { channel_id: channel }),
      change: { kind, value },
    }),
  );
