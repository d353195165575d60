import type { SourceBatch } from "./canonical-event.js";
import { type BatchWriter, createBatch, label, type Reading } from "./source-batch.js";
import { asRecord, isRecord, type UntrustedRecord } from "./untrusted.js";
import { envelopesIn } from "./web-envelope.js";
import { type WebPlace, webItemPlace, webPlaceOf } from "./web-place.js";
import { readAck, readEdit, readMessage, readReaction, readRevoke } from "./whatsapp-web-js-messages.js";

/** The events that are understood, with what whatsapp-web.js calls their arguments. */
const readers: ReadonlyMap<
  string,
  { names: readonly string[]; read(given: UntrustedRecord, place: WebPlace): Reading }
> = new Map([
  ["message", { names: ["message"], read: readMessage }],
  ["message_create", { names: ["message"], read: readMessage }],
  ["message_ack", { names: ["message", "ack"], read: readAck }],
  ["message_reaction", { names: ["reaction"], read: readReaction }],
  ["message_edit", { names: ["message", "newBody", "prevBody"], read: readEdit }],
  ["message_revoke_everyone", { names: ["after", "before"], read: readRevoke }],
]);

/** Events that count nothing, and some of which hold keys or codes: nothing but their name is kept. */
export const whatsappWebJsMeaningless: readonly string[] = [
  ...["qr", "code", "authenticated", "auth_failure", "ready", "disconnected", "change_state"],
  ...["loading_screen", "remote_session_saved", "change_battery", "call", "incoming_call", "vote_update"],
  ...["message_revoke_me", "message_ciphertext", "message_ciphertext_failed", "media_uploaded"],
  ...["unread_count", "chat_removed", "chat_archived", "contact_changed", "group_join", "group_leave"],
  ...["group_update", "group_admin_changed", "group_membership_request"],
];
export const whatsappWebJsEvents: readonly string[] = [...readers.keys()];
const MEANINGLESS: ReadonlySet<string> = new Set(whatsappWebJsMeaningless);

/**
 * Events of whatsapp-web.js as canonical events: `{session, event, args}` as its listeners get them, or
 * `{events: […]}` of those. Whatever the JSON is, it never throws, and every event of it ends in `events` or in
 * `quarantined`.
 */
export function readWhatsappWebJs(payload: unknown, receivedAt: string): SourceBatch {
  const writer = createBatch();
  const envelopes = envelopesIn(payload);
  if (envelopes.length === 0) add(writer, placeOf(payload, receivedAt), "payload", payload, "empty");
  for (const envelope of envelopes) readEnvelope(envelope, receivedAt, writer);
  return writer.batch;
}

function readEnvelope(envelope: unknown, receivedAt: string, writer: BatchWriter): void {
  const place = placeOf(envelope, receivedAt);
  const { event, args, data } = asRecord(envelope);
  if (typeof event !== "string") {
    add(writer, place, "payload", envelope, "not_an_event");
    return;
  }
  const kind = `event:${label(event)}`;
  const reader = readers.get(event);
  if (reader !== undefined) {
    const given = named(reader.names, args, data);
    add(writer, place, kind, given, reader.read(given, place));
  } else if (MEANINGLESS.has(event)) add(writer, place, kind, { event }, "no_analytics_meaning");
  else add(writer, place, kind, { event }, "unknown_event");
}

const placeOf = (envelope: unknown, receivedAt: string): WebPlace =>
  webPlaceOf("whatsapp_web_js", asRecord(envelope), receivedAt);

const add = (writer: BatchWriter, place: WebPlace, kind: string, item: unknown, reading: Reading): void =>
  writer.add(webItemPlace(place, kind), item, reading);

/** The arguments by their names: from the list, from an object of them, or from the first of them alone. */
function named(names: readonly string[], args: unknown, data: unknown): UntrustedRecord {
  if (Array.isArray(args)) return Object.fromEntries(names.map((name, at) => [name, args[at]]));
  const [first = "", ...others] = names;
  if (!isRecord(data) || isRecord(data[first])) return asRecord(data);
  return { ...Object.fromEntries(others.map((name) => [name, data[name]])), [first]: data };
}
