import { isBroadcastFeed, type Parties, partiesOf, preferPhone, receiptPartiesOf, userOf } from "./jid.js";
import { parseSerializedId, withoutParticipant } from "./serialized-id.js";
import type { EventDraft, Reading } from "./source-batch.js";
import { asRecord, asText, isRecord, textLength, type UntrustedRecord } from "./untrusted.js";
import { contentOf } from "./waha-content.js";
import { outboundMessage, reactionOf, stampOf, type WebPlace, webBaseOf } from "./web-place.js";
import { instantOfSeconds } from "./web-time.js";

export interface WahaPlace extends WebPlace {
  /** The session's own addresses. */
  ownAddresses: readonly string[];
}

/** `WAMessageAck` of WAHA, by number and by name, the same with each of its engines. */
export const wahaAcks: ReadonlyMap<unknown, EventDraft["type"]> = new Map<unknown, EventDraft["type"]>([
  [-1, "message.failed"],
  [0, "message.queued"],
  [1, "message.sent"],
  [2, "message.delivered"],
  [3, "message.read"],
  [4, "message.played"],
  ["ERROR", "message.failed"],
  ["PENDING", "message.queued"],
  ["SERVER", "message.sent"],
  ["DEVICE", "message.delivered"],
  ["READ", "message.read"],
  ["PLAYED", "message.played"],
]);

/** `message` and `message.any`, which come both for a message of somebody else and are one event then. */
export function readMessage(payload: unknown, place: WahaPlace): Reading {
  const about = aboutMessage(payload);
  if (typeof about === "string") return about;
  const { item, id, fromMe, parties } = about;
  const content = contentOf(item);
  if (content === "nothing written") return "no_analytics_meaning";
  const stamp = stampOf(item.timestamp, instantOfSeconds, place);
  if (typeof stamp === "string") return stamp;
  const draft = {
    ...webBaseOf(place),
    ...stamp,
    ...parties,
    ...content,
    message_id: id,
    reply_to: quotedId(item, about),
  };
  if (!fromMe) return [{ ...draft, type: "message.received" }];
  const origin = item.source === "app" ? "phone_app" : "unknown";
  return outboundMessage({ ...draft, origin }, wahaAcks.get(item.ack));
}

/** `message.ack` and `message.ack.group`. Neither says when: the gateway's time is the best there is. */
export function readAck(payload: unknown, place: WahaPlace): Reading {
  const about = aboutMessage(payload);
  if (typeof about === "string") return about;
  const { item, id, fromMe, chat } = about;
  // Our reading of somebody else's message.
  if (!fromMe) return "no_analytics_meaning";
  const type = wahaAcks.get(item.ack ?? item.ackName);
  if (type === undefined) return "unknown_status";
  const reader = about.author === undefined || isOwn(about.author, place) ? undefined : about.author;
  return [{ ...webBaseOf(place), ...place.arrival, ...receiptPartiesOf(chat, reader), type, message_id: id }];
}

export function readReaction(payload: unknown, place: WahaPlace): Reading {
  const about = aboutMessage(payload);
  if (typeof about === "string") return about;
  const { item, id, parties } = about;
  if (!isRecord(item.reaction)) return "unknown_shape";
  const stamp = stampOf(item.timestamp, instantOfSeconds, place);
  if (typeof stamp === "string") return stamp;
  const common = { ...webBaseOf(place), ...stamp, ...parties, message_id: id };
  return reactionOf(common, messageIdOf(item.reaction.messageId), item.reaction.text);
}

/** The payload's own id and time are those of the edit with one engine and of the message with another. */
export function readEdit(payload: unknown, place: WahaPlace): Reading {
  const about = aboutMessage(payload);
  if (typeof about === "string") return about;
  const { item, parties } = about;
  const original = originalId(item.editedMessageId, about);
  if (original === undefined) return "missing_id";
  return [
    {
      ...webBaseOf(place),
      ...place.arrival,
      ...parties,
      type: "message.edited",
      message_id: original,
      text_length: textLength(item.body),
    },
  ];
}

/** `after` is what is left of the message, with an id of its own; `before` the message, if the gateway still had it. */
export function readRevoke(payload: unknown, place: WahaPlace): Reading {
  if (!isRecord(payload)) return "unknown_shape";
  const { before, after, revokedMessageId } = payload;
  const about = aboutMessage(isRecord(before) ? before : after);
  if (typeof about === "string") return about;
  const id = originalId(revokedMessageId, about) ?? about.id;
  return [
    { ...webBaseOf(place), ...place.arrival, ...about.parties, type: "message.revoked", message_id: id },
  ];
}

interface About {
  item: UntrustedRecord;
  id: string;
  fromMe: boolean;
  chat: string | undefined;
  author: string | undefined;
  parties: Parties;
}

function aboutMessage(item: unknown): About | "unknown_shape" | "missing_id" | "no_analytics_meaning" {
  if (!isRecord(item)) return "unknown_shape";
  const id = messageIdOf(item.id);
  if (id === undefined) return "missing_id";
  const parsed = parseSerializedId(asText(item.id));
  const fromMe = typeof item.fromMe === "boolean" ? item.fromMe : parsed?.fromMe === true;
  // `from` is the chat with one engine and the sender with another; the id names the chat with all of them.
  const address = parsed?.chat ?? (fromMe ? (asText(item.to) ?? asText(item.from)) : asText(item.from));
  if (isBroadcastFeed(address) || isBroadcastFeed(asText(item.from))) return "no_analytics_meaning";
  const key = asRecord(asRecord(item._data).key);
  const chat = preferPhone(address, asText(key.remoteJidAlt));
  const author = preferPhone(asText(item.participant) ?? parsed?.participant, asText(key.participantAlt));
  return {
    item,
    id,
    fromMe,
    chat,
    author,
    parties: partiesOf(fromMe ? "outbound" : "inbound", chat, author),
  };
}

/** One id for a message in all of its events. Ids of another form are taken as they are. */
function messageIdOf(value: unknown): string | undefined {
  const text = asText(value);
  const parsed = parseSerializedId(text);
  return parsed === undefined ? text : withoutParticipant(parsed);
}

/** Edits and revokes name the message by WhatsApp's id alone. Who changes a message wrote it, in the same chat. */
function originalId(value: unknown, { item }: About): string | undefined {
  const core = asText(value);
  const own = parseSerializedId(asText(item.id));
  if (core === undefined || own === undefined || parseSerializedId(core) !== undefined)
    return messageIdOf(core);
  return withoutParticipant({ ...own, core });
}

/** The message that is answered, where its id tells or there are two sides only. */
function quotedId(item: UntrustedRecord, { chat, parties }: About): string | undefined {
  const { id, participant } = asRecord(item.replyTo);
  const core = asText(id);
  if (core === undefined || parseSerializedId(core) !== undefined) return messageIdOf(id);
  const author = userOf(asText(participant));
  if (chat === undefined || author === undefined || parties.chat_kind !== "direct") return undefined;
  return withoutParticipant({ fromMe: author !== parties.contact_id, chat, core });
}

const isOwn = (jid: string, place: WahaPlace): boolean =>
  place.ownAddresses.some((own) => userOf(own) === userOf(jid));
