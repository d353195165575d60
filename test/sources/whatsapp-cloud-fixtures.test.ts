import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalEvent } from "../../src/sources/canonical-event.js";
import { quarantineReasons } from "../../src/sources/source-batch.js";
import { readWhatsappCloud } from "../../src/sources/whatsapp-cloud.js";
import { hostile, mutated } from "./hostile.js";
import { fixtureNames, outline, readFixture } from "./whatsapp-cloud-webhook.js";

/** What each fixture must become. Written down once and read by a person; nothing updates it by itself. */
const expected: Record<string, string[]> = JSON.parse(
  readFileSync(join(import.meta.dirname, "../fixtures/whatsapp-cloud/expected.json"), "utf8"),
);

type Json = Record<string, unknown>;
const LISTS = ["messages", "smb_message_echoes", "history", "user_preferences"];
const list = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : []);
const part = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const atLeastOne = (count: number): number => Math.max(1, count);
const total = (counts: number[]): number => counts.reduce((sum, count) => sum + count, 0);

/** Items of a payload by the rules of docs/sources.md, counted without the code under test. */
function itemsIn(payload: unknown): number {
  const { object, entry } = part(payload);
  if (object !== "whatsapp_business_account" || !Array.isArray(entry)) return 1;
  return atLeastOne(total(list(entry).map(itemsInEntry)));
}

function itemsInEntry(entry: unknown): number {
  const { id, changes } = part(entry);
  const named = (typeof id === "string" && id !== "") || Number.isSafeInteger(id);
  if (!named || !Array.isArray(changes)) return 1;
  return atLeastOne(total(list(changes).map((change) => itemsInChange(part(change), id))));
}

function itemsInChange({ field, value }: Json, id: unknown): number {
  if (String(id) === "0" || typeof field !== "string" || !LISTS.includes(field)) return 1;
  const known = [
    ...["messages", "statuses", "message_echoes", "user_preferences"],
    "errors",
    "calls",
    "groups",
  ];
  const counts = Object.entries(part(value)).map(([key, items]) => {
    if (key === "contacts" || items === null) return 0;
    if (!Array.isArray(items)) return key === "history" || known.includes(key) ? 1 : 0;
    return key === "history" ? total(items.map(itemsInChunk)) : items.length;
  });
  return atLeastOne(total(counts));
}

function itemsInChunk(chunk: unknown): number {
  const { errors, threads } = part(chunk);
  const messages = list(threads).map((thread) => {
    const { messages } = part(thread);
    return Array.isArray(messages) ? messages.length : 1;
  });
  return atLeastOne(list(errors).length + total(messages));
}

/** An imported message that has gone past `sent` is two events: that it was sent, and how far it came. */
const secondEvents = (payload: unknown): number =>
  readWhatsappCloud(payload).events.filter(
    ({ event }) => event.time_quality === "inferred" && event.type !== "message.failed",
  ).length;

function checkPayload(payload: unknown): void {
  const { events, quarantined } = readWhatsappCloud(payload);
  for (const { namedAccount, event } of events)
    expect(canonicalEvent.safeParse({ account_id: namedAccount, ...event })).toMatchObject({ success: true });
  for (const item of quarantined) {
    expect(quarantineReasons).toContain(item.reason);
    expect(item.kind).toMatch(/^[\w.:-]{1,80}$/);
    expect(
      item.channelId === undefined || canonicalEvent.shape.channel_id.safeParse(item.channelId).success,
    ).toBe(true);
  }
  expect(events.length + quarantined.length).toBe(itemsIn(payload) + secondEvents(payload));
}

describe("fixtures", () => {
  it("are all expected, and all expectations have a fixture", () => {
    expect(Object.keys(expected).sort()).toEqual(fixtureNames);
    expect(fixtureNames).toHaveLength(120);
  });

  it.each(fixtureNames)("%s", (name) => {
    const payload = readFixture(name);
    expect(outline(readWhatsappCloud(payload))).toEqual(expected[name]);
    checkPayload(payload);
  });

  it("are not changed by reading them, and read the same twice", () => {
    for (const name of fixtureNames) {
      const payload = readFixture(name);
      expect(readWhatsappCloud(payload)).toEqual(readWhatsappCloud(payload));
      expect(payload).toEqual(readFixture(name));
    }
  });
});

const mutatedFixture = mutated(fixtureNames, readFixture);

const inner = fc.dictionary(
  fc.constantFrom(
    "id",
    "message_id",
    "original_message_id",
    "type",
    "body",
    "messages",
    "code",
    "phone_number_id",
  ),
  fc.oneof(hostile, fc.constant([{ id: "a", from: "1", type: "text", timestamp: "1698266730" }])),
  { maxKeys: 4 },
);
const item = fc.dictionary(
  fc.constantFrom(
    "id",
    "type",
    "status",
    "timestamp",
    "from",
    "to",
    "text",
    "edit",
    "reaction",
    "threads",
    "errors",
  ),
  fc.oneof(hostile, inner, fc.array(inner, { maxLength: 2 }), fc.constantFrom("text", "sent", "1698266730")),
  { maxKeys: 6 },
);

describe("whatever the JSON is", () => {
  it("arbitrary JSON neither throws nor gets lost", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (payload) => checkPayload(payload)),
      { numRuns: 300 },
    );
  });

  it("arbitrary values in every list of a webhook neither throw nor get lost", () => {
    const change = fc.record({
      field: fc.constantFrom(
        "messages",
        "smb_message_echoes",
        "history",
        "user_preferences",
        "security",
        "x",
      ),
      value: fc.oneof(
        hostile,
        fc.dictionary(
          fc.constantFrom(
            "messages",
            "statuses",
            "message_echoes",
            "history",
            "errors",
            "contacts",
            "calls",
            "metadata",
          ),
          fc.oneof(hostile, inner, fc.array(fc.oneof(hostile, item), { maxLength: 3 })),
          { maxKeys: 4 },
        ),
      ),
    });
    const payload = fc.record({
      object: fc.constant("whatsapp_business_account"),
      entry: fc.array(
        fc.record({ id: hostile, time: hostile, changes: fc.array(change, { maxLength: 3 }) }),
        {
          maxLength: 3,
        },
      ),
    });
    fc.assert(
      fc.property(payload, (value) => checkPayload(JSON.parse(JSON.stringify(value)))),
      { numRuns: 500 },
    );
  });

  it("mutated fixtures neither throw nor get lost", () => {
    fc.assert(
      fc.property(mutatedFixture, (payload) => checkPayload(payload)),
      { numRuns: 3000 },
    );
  });
});
