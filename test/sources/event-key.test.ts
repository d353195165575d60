import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  canonicalEvent,
  type EventJson,
  eventTypes,
  type SourceEvent,
} from "../../src/sources/canonical-event.js";
import { eventKey, eventKeyText } from "../../src/sources/event-key.js";

const occurred_at = "2025-06-08T20:59:43.000Z";
const event = (
  rest: Omit<EventJson, "account_id" | "occurred_at"> & { occurred_at?: string },
): SourceEvent => {
  const { account_id, ...parsed } = canonicalEvent.parse({ account_id: "a", occurred_at, ...rest });
  return parsed;
};

describe("the text of a key", () => {
  const sent = { type: "message.sent", channel_id: "c", message_id: "m" } as const;

  it.each<[string, SourceEvent]>([
    ["id|own id", event({ ...sent, event_id: "own id" })],
    ["st|c|m|message.sent||1749416383000", event(sent)],
    ["st|c|m|message.sent|p|1749416383000", event({ ...sent, participant_id: "p", time_quality: "gateway" })],
    ["st|c|m|message.sent||-", event({ ...sent, time_quality: "observed" })],
    ["st|c|m|message.sent||-", event({ ...sent, time_quality: "inferred" })],
    [
      "st|c|m|message.failed||1749416383000|131047",
      event({ ...sent, type: "message.failed", error: { code: 131047 } }),
    ],
    ["st|c|m|message.failed||1749416383000|", event({ ...sent, type: "message.failed" })],
    ["st||m|message.queued||1749416383000", event({ type: "message.queued", message_id: "m" })],
    ["in|c|m", event({ ...sent, type: "message.received" })],
    ["ed|m|1749416383000", event({ ...sent, type: "message.edited" })],
    ["rv|m|1749416383000", event({ ...sent, type: "message.revoked" })],
    [
      "re|c|inbound|u|t|👍|1749416383000",
      event({ ...sent, type: "reaction.added", contact_id: "u", reaction: { target: "t", emoji: "👍" } }),
    ],
    [
      "rr|c|outbound|p|t||1749416383000",
      event({
        ...sent,
        type: "reaction.removed",
        direction: "outbound",
        participant_id: "p",
        reaction: { target: "t" },
      }),
    ],
    [
      "ch|template.changed|||none||||n|1|en|UTILITY|status|REJECTED||SCAM||1749416383000",
      event({
        type: "template.changed",
        direction: "none",
        template: { name: "n", id: "1", language: "en", category: "UTILITY" },
        change: { kind: "status", value: "REJECTED", detail: "SCAM" },
      }),
    ],
    ["in|a\\|b|c\\\\", event({ type: "message.received", channel_id: "a|b", message_id: "c\\" })],
  ])("%s", (text, of) => expect(eventKeyText(of)).toBe(text));

  it("takes a time as an instant, however it is written", () => {
    const zoned = event({ ...sent, occurred_at: "2025-06-08T22:59:43+02:00" });
    expect(eventKeyText(zoned)).toBe(eventKeyText(event(sent)));
  });
});

/** Few and nasty values, so that collisions would be found. */
const text = fc.constantFrom(
  "a",
  "b",
  "a|b",
  "|",
  "||",
  "\\",
  "\\|",
  "a\\",
  "-",
  "message.sent",
  "1749416383000",
);
const maybe = fc.option(text, { nil: undefined });
const anyEvent = fc
  .record({
    type: fc.constantFrom(...eventTypes),
    occurred_at: fc.constantFrom(occurred_at, "2025-06-08T20:59:44.000Z"),
    time_quality: fc.constantFrom("provider", "gateway", "observed", "inferred", undefined),
    event_id: fc.option(text, { nil: undefined, freq: 5 }),
    message_id: maybe,
    channel_id: maybe,
    direction: fc.constantFrom("inbound", "outbound", "none", undefined),
    contact_id: maybe,
    chat_id: maybe,
    participant_id: maybe,
    error: fc.option(fc.record({ code: text }), { nil: undefined }),
    reaction: fc.option(fc.record({ target: text, emoji: maybe }), { nil: undefined }),
    template: fc.option(fc.record({ name: text, id: maybe, language: maybe, category: maybe }), {
      nil: undefined,
    }),
    change: fc.option(
      fc.record({ kind: text, value: text, previous: maybe, detail: maybe, subject: maybe }),
      { nil: undefined },
    ),
  })
  .map((value) => value as SourceEvent);

/** What distinguishes an event, as JSON: the same rule as the key, in a notation that cannot collide. */
function distinguishing(of: SourceEvent): string {
  const ts = Date.parse(of.occurred_at);
  if (of.event_id !== undefined) return JSON.stringify(["id", of.event_id]);
  if (of.type === "message.received") return JSON.stringify([of.type, of.channel_id, of.message_id]);
  if (of.type === "message.edited" || of.type === "message.revoked")
    return JSON.stringify([of.type, of.message_id, ts]);
  if (of.type.startsWith("reaction."))
    return JSON.stringify([
      ...[of.type, of.channel_id, of.direction ?? "inbound", of.participant_id ?? of.contact_id],
      ...[of.reaction?.target, of.reaction?.emoji, ts, of.reaction === undefined ? of.message_id : ""],
    ]);
  if (of.type.endsWith(".changed"))
    return JSON.stringify([
      ...[of.type, of.channel_id, of.message_id, of.direction, of.contact_id, of.chat_id, of.participant_id],
      ...[of.template?.name, of.template?.id, of.template?.language, of.template?.category],
      ...[of.change?.kind, of.change?.value, of.change?.previous, of.change?.detail, of.change?.subject, ts],
    ]);
  const known = of.time_quality !== "observed" && of.time_quality !== "inferred";
  const failed = of.type === "message.failed" ? [of.error?.code] : [];
  return JSON.stringify([
    of.type,
    of.channel_id,
    of.message_id,
    of.participant_id,
    known ? ts : null,
    ...failed,
  ]);
}

describe("a key", () => {
  it("is the same exactly when what distinguishes the events is the same", () => {
    const byText = new Map<string, string>();
    const byFields = new Map<string, string>();
    const check = (of: SourceEvent) => {
      const [keyText, fields] = [eventKeyText(of), distinguishing(of)];
      expect(byText.get(keyText) ?? fields).toBe(fields);
      expect(byFields.get(fields) ?? keyText).toBe(keyText);
      byText.set(keyText, fields);
      byFields.set(fields, keyText);
    };
    fc.assert(fc.property(anyEvent, check), { numRuns: 20_000 });
    // The check is worth something only if events met again.
    expect(byText.size).toBeLessThan(18_000);
  });

  it("differs for two events whose fields move over a separator", () => {
    const received = (channel_id: string, message_id: string) =>
      eventKeyText(event({ type: "message.received", channel_id, message_id }));
    fc.assert(
      fc.property(text, text, text, text, (a, b, c, d) => {
        expect(received(a, b) === received(c, d)).toBe(a === c && b === d);
      }),
      { numRuns: 5_000 },
    );
  });

  it("is stable forever: a changed value would let every old event in again", () => {
    expect(eventKey(event({ type: "message.received", channel_id: "c", message_id: "m" }))).toEqual({
      key: "45418945-6e56-8a19-224b-7443f62a97a4",
      hash: 290873,
    });
    expect(eventKey(event({ type: "message.sent", channel_id: "c", message_id: "m" }))).toEqual({
      key: "48c2b27d-1a79-9217-fac3-4f1d58ebbd7c",
      hash: 50937,
    });
  });

  it("has the form of a UUID and a hash of 19 bits that spreads", () => {
    const buckets = new Array<number>(8).fill(0);
    for (let n = 0; n < 8_000; n += 1) {
      const { key, hash } = eventKey(event({ type: "message.received", message_id: `m${n}` }));
      if (n < 100) expect(key).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
      expect(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 19).toBe(true);
      buckets[hash >>> 16]! += 1;
    }
    for (const count of buckets) expect(Math.abs(count - 1_000)).toBeLessThan(200);
  });
});
