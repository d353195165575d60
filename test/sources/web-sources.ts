import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readBaileys } from "../../src/sources/baileys.js";
import type { ReadSource, SourceEvent } from "../../src/sources/canonical-event.js";
import { readWaha } from "../../src/sources/waha.js";
import { readWhatsappWebJs } from "../../src/sources/whatsapp-web-js.js";

export const receivedAt = "2025-06-08T21:30:00.000Z";
/** The time of messages in the fixtures, in Unix seconds and as an event has it. */
export const at = 1749416383;
export const occurred_at = "2025-06-08T20:59:43.000Z";

export const webSources: Readonly<Record<string, ReadSource>> = {
  "whatsapp-web-js": readWhatsappWebJs,
  baileys: readBaileys,
  waha: readWaha,
};

const folderOf = (source: string): string => join(import.meta.dirname, "../fixtures", source);

/** Every payload of a source, also in the folders of repositories that payloads were taken from. */
export const fixtureNamesOf = (source: string): string[] =>
  readdirSync(folderOf(source), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json") && name !== "expected.json")
    .sort();

export const fixtureOf = (source: string, name: string): unknown =>
  JSON.parse(readFileSync(join(folderOf(source), name), "utf8"));

/** The events of a payload that has nothing else in it. */
export function onlyEvents(read: ReadSource, payload: unknown): SourceEvent[] {
  const { events, quarantined } = read(payload, receivedAt);
  if (quarantined.length > 0) throw new Error(`expected events only, got ${JSON.stringify(quarantined)}`);
  return events.map(({ event }) => event);
}

export function onlyEvent(read: ReadSource, payload: unknown): SourceEvent {
  const events = onlyEvents(read, payload);
  if (events.length !== 1) throw new Error(`expected one event, got ${JSON.stringify(events)}`);
  return events[0]!;
}

/** `reason kind` of everything in quarantine, when there are no events. */
export function onlyReasons(read: ReadSource, payload: unknown): string[] {
  const { events, quarantined } = read(payload, receivedAt);
  if (events.length > 0) throw new Error(`expected no events, got ${JSON.stringify(events)}`);
  return quarantined.map(({ reason, kind }) => `${reason} ${kind}`);
}
