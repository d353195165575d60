import { readDeleted, readMessage, readReaction, readReceipt, readUpdate } from "./baileys-messages.js";
import type { SourceBatch } from "./canonical-event.js";
import { type BatchWriter, createBatch, label, type Reading } from "./source-batch.js";
import { asRecord, isRecord } from "./untrusted.js";
import { envelopesIn } from "./web-envelope.js";
import { type WebPlace, webItemPlace, webPlaceOf } from "./web-place.js";

interface ListReader {
  /** Where in the data of the event its items are. */
  list(data: unknown): unknown;
  read(item: unknown, place: WebPlace): Reading;
}
const messagesIn = (data: unknown): unknown => asRecord(data).messages;
const itself = (data: unknown): unknown => (isRecord(data) ? [data] : data);

const readers: ReadonlyMap<string, ListReader> = new Map<string, ListReader>([
  ["messages.upsert", { list: messagesIn, read: readMessage }],
  ["messaging-history.set", { list: messagesIn, read: readMessage }],
  ["messages.update", { list: itself, read: readUpdate }],
  ["message-receipt.update", { list: itself, read: readReceipt }],
  ["messages.reaction", { list: itself, read: readReaction }],
  ["messages.delete", { list: (data) => asRecord(data).keys, read: readDeleted }],
]);

/** Events that count nothing, and some of which hold keys or codes: nothing but their name is kept. */
export const baileysMeaningless: readonly string[] = [
  ...["connection.update", "creds.update", "presence.update", "call", "messages.media-update"],
  ...["chats.set", "chats.upsert", "chats.update", "chats.delete", "chats.phoneNumberShare", "chats.lock"],
  ...["contacts.set", "contacts.upsert", "contacts.update", "lid-mapping.update", "settings.update"],
  ...["groups.upsert", "groups.update", "group-participants.update", "group.join-request"],
  ...["group.member-tag.update", "blocklist.set", "blocklist.update", "labels.edit", "labels.association"],
  ...["newsletter.reaction", "newsletter.view", "newsletter-participants.update"],
  ...["newsletter-settings.update", "messaging-history.status", "message-capping.update"],
];
export const baileysEvents: readonly string[] = [...readers.keys()];
const MEANINGLESS: ReadonlySet<string> = new Set(baileysMeaningless);

/**
 * Events of Baileys as canonical events: `{session, events}` with the object that `ev.process` hands out, or
 * `{session, event, data}`. Whatever the JSON is, it never throws, and every item of it ends in `events` or in
 * `quarantined`.
 */
export function readBaileys(payload: unknown, receivedAt: string): SourceBatch {
  const writer = createBatch();
  const envelopes = envelopesIn(payload);
  if (envelopes.length === 0) add(writer, placeOf(payload, receivedAt), "payload", payload, "empty");
  for (const envelope of envelopes) readEnvelope(envelope, receivedAt, writer);
  return writer.batch;
}

function readEnvelope(envelope: unknown, receivedAt: string, writer: BatchWriter): void {
  const place = placeOf(envelope, receivedAt);
  const { event, data } = asRecord(envelope);
  if (typeof event !== "string") {
    add(writer, place, "payload", envelope, "not_an_event");
    return;
  }
  const kind = `event:${label(event)}`;
  const reader = readers.get(event);
  if (reader === undefined) {
    if (MEANINGLESS.has(event)) add(writer, place, kind, { event }, "no_analytics_meaning");
    else add(writer, place, kind, { event }, "unknown_event");
    return;
  }
  // A whole chat that was emptied here says nothing of its messages.
  if (event === "messages.delete" && asRecord(data).all === true) {
    add(writer, place, kind, data, "no_analytics_meaning");
    return;
  }
  const items = reader.list(data);
  if (!Array.isArray(items)) add(writer, place, kind, data, "unknown_shape");
  else if (items.length === 0) add(writer, place, kind, { event }, "empty");
  else for (const item of items) add(writer, place, kind, item, reader.read(item, place));
}

const placeOf = (envelope: unknown, receivedAt: string): WebPlace =>
  webPlaceOf("baileys", asRecord(envelope), receivedAt);

const add = (writer: BatchWriter, place: WebPlace, kind: string, item: unknown, reading: Reading): void =>
  writer.add(webItemPlace(place, kind), item, reading);
