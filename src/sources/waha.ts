import type { SourceBatch } from "./canonical-event.js";
import { createBatch, label, type Reading } from "./source-batch.js";
import { asRecord, asText } from "./untrusted.js";
import { readAck, readEdit, readMessage, readReaction, readRevoke, type WahaPlace } from "./waha-messages.js";
import { webItemPlace, webPlaceOf } from "./web-place.js";

const readers: ReadonlyMap<string, (payload: unknown, place: WahaPlace) => Reading> = new Map([
  ["message", readMessage],
  ["message.any", readMessage],
  ["message.ack", readAck],
  ["message.ack.group", readAck],
  ["message.reaction", readReaction],
  ["message.edited", readEdit],
  ["message.revoked", readRevoke],
]);

/** Events that count nothing, and some of which hold codes: nothing but their name is kept. */
export const wahaMeaningless: readonly string[] = [
  ...["session.status", "state.change", "engine.event", "message.waiting", "presence.update"],
  ...["poll.vote", "poll.vote.failed", "event.response", "event.response.failed", "chat.archive"],
  ...["call.received", "call.accepted", "call.rejected", "label.upsert", "label.deleted"],
  ...["label.chat.added", "label.chat.deleted", "group.join", "group.leave", "group.v2.join"],
  ...["group.v2.leave", "group.v2.update", "group.v2.participants", "group.v2.participants.join-request"],
];
export const wahaEvents: readonly string[] = [...readers.keys()];
const MEANINGLESS: ReadonlySet<string> = new Set(wahaMeaningless);

/**
 * WAHA's webhook as canonical events. Whatever the JSON is, it never throws, and it ends in `events` or in
 * `quarantined`. The envelope's `id` is no event id: `message` and `message.any` have one each for the same message.
 */
export function readWaha(payload: unknown, receivedAt: string): SourceBatch {
  const writer = createBatch();
  const envelope = asRecord(payload);
  const me = asRecord(envelope.me);
  const place: WahaPlace = {
    ...webPlaceOf("waha", envelope, receivedAt),
    ownAddresses: [asText(me.id), asText(me.lid), asText(me.jid)].filter((jid) => jid !== undefined),
  };
  const add = (kind: string, item: unknown, reading: Reading): void =>
    writer.add(webItemPlace(place, kind), item, reading);
  const { event } = envelope;
  if (typeof event !== "string") add("payload", payload, "not_an_event");
  else {
    const kind = `event:${label(event)}`;
    const read = readers.get(event);
    if (read !== undefined) add(kind, envelope.payload, read(envelope.payload, place));
    else if (MEANINGLESS.has(event)) add(kind, { event }, "no_analytics_meaning");
    else add(kind, { event }, "unknown_event");
  }
  return writer.batch;
}
