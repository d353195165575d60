import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalEvent, type SourceBatch } from "../../src/sources/canonical-event.js";
import { quarantineReasons } from "../../src/sources/source-batch.js";
import { hostile, mutated } from "./hostile.js";
import { fixtureNamesOf, fixtureOf, receivedAt, webSources } from "./web-sources.js";
import { outline } from "./whatsapp-cloud-webhook.js";

type Json = Record<string, unknown>;
const isJson = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The items of a payload by the rules of docs/sources.md, each as a payload of its own. */
function split(source: string, payload: unknown): unknown[] {
  if (source === "waha" || !isJson(payload)) return [payload];
  const { events, session, timestamp } = payload;
  let envelopes: unknown[] = [payload];
  if (Array.isArray(events))
    envelopes = events.map((inner) => (isJson(inner) ? { session, timestamp, ...inner } : inner));
  else if (isJson(events))
    envelopes = Object.entries(events).map(([event, data]) => ({ session, timestamp, event, data }));
  if (envelopes.length === 0) return [payload];
  return source === "baileys" ? envelopes.flatMap(splitEnvelope) : envelopes;
}

function splitEnvelope(envelope: unknown): unknown[] {
  if (!isJson(envelope)) return [envelope];
  const { events: _, ...rest } = envelope;
  const { event, data } = rest;
  const each = (list: unknown, wrap: (item: unknown) => unknown) =>
    Array.isArray(list) && list.length > 0 ? list.map((item) => ({ ...rest, data: wrap(item) })) : [rest];
  if (event === "messages.upsert" || event === "messaging-history.set")
    return each(isJson(data) ? data.messages : undefined, (item) => ({ messages: [item] }));
  if (event === "messages.delete")
    return isJson(data) && data.all !== true ? each(data.keys, (item) => ({ keys: [item] })) : [rest];
  if (["messages.update", "message-receipt.update", "messages.reaction"].includes(String(event)))
    return each(data, (item) => [item]);
  return [rest];
}

function checkPayload(source: string, payload: unknown): void {
  const read = webSources[source]!;
  const batch = read(payload, receivedAt);
  for (const { namedAccount, event } of batch.events) {
    expect(namedAccount).toBe("");
    expect(canonicalEvent.safeParse({ account_id: "a", ...event })).toMatchObject({ success: true });
  }
  for (const { reason, kind, channelId } of batch.quarantined) {
    expect(quarantineReasons).toContain(reason);
    expect(kind).toMatch(/^[\w.:-]{1,80}$/);
    expect(channelId === undefined || canonicalEvent.shape.channel_id.safeParse(channelId).success).toBe(
      true,
    );
  }
  const apart: SourceBatch = { events: [], quarantined: [] };
  for (const item of split(source, payload)) {
    const { events, quarantined } = read(item, receivedAt);
    expect(events.length > 0 ? quarantined.length : 1 - quarantined.length).toBe(0);
    apart.events.push(...events);
    apart.quarantined.push(...quarantined);
  }
  expect(outline(batch)).toEqual(outline(apart));
}

describe.each(Object.keys(webSources))("%s", (source) => {
  const names = fixtureNamesOf(source);
  const read = webSources[source]!;
  /** What each fixture must become. Written down once and read by a person; nothing updates it by itself. */
  const expected: Record<string, string[]> = JSON.parse(
    readFileSync(join(import.meta.dirname, "../fixtures", source, "expected.json"), "utf8"),
  );

  it("has an expectation for every fixture, and no other", () => {
    expect(Object.keys(expected).sort()).toEqual(names);
    expect(names).toHaveLength({ "whatsapp-web-js": 25, baileys: 29, waha: 42 }[source]!);
  });

  it.each(names)("%s", (name) => {
    const payload = fixtureOf(source, name);
    expect(outline(read(payload, receivedAt))).toEqual(expected[name]);
    checkPayload(source, payload);
    expect(read(payload, receivedAt)).toEqual(read(payload, receivedAt));
    expect(payload).toEqual(fixtureOf(source, name));
  });

  it("arbitrary JSON neither throws nor gets lost", () => {
    const envelope = fc.record(
      {
        event: fc.oneof(fc.constantFrom(...eventsOf(names, source)), hostile),
        session: hostile,
        timestamp: hostile,
        data: hostile,
        args: hostile,
        payload: hostile,
      },
      { requiredKeys: [] },
    );
    const payload = fc.oneof(fc.jsonValue(), envelope, fc.record({ events: fc.array(envelope) }));
    fc.assert(
      fc.property(payload, (value) => checkPayload(source, JSON.parse(JSON.stringify(value)))),
      { numRuns: 300 },
    );
  });

  it("mutated fixtures neither throw nor get lost", () => {
    fc.assert(
      fc.property(
        mutated(names, (name) => fixtureOf(source, name)),
        (payload) => checkPayload(source, payload),
      ),
      { numRuns: 1500 },
    );
  });
});

/** The event names in the fixtures of a source. */
function eventsOf(names: readonly string[], source: string): string[] {
  const found = names.flatMap((name) => {
    const { event, events } = fixtureOf(source, name) as Json;
    return isJson(events) ? Object.keys(events) : [event];
  });
  return [...new Set(found.filter((event) => typeof event === "string"))];
}
