import { isBroadcastFeed, type Parties, partiesOf, receiptPartiesOf, userOf } from "./jid.js";
import { parseSerializedId } from "./serialized-id.js";
import type { EventDraft, Reading } from "./source-batch.js";
import { asRecord, asText, isRecord, textLength, type UntrustedRecord } from "./untrusted.js";
import { outboundMessage, reactionOf, stampOf, type WebPlace, webBaseOf } from "./web-place.js";
import { instantOfMs, instantOfSeconds } from "./web-time.js";
import { contentOf, isSystemMessage } from "./whatsapp-web-js-content.js";

/** `MessageAck` of whatsapp-web.js. Other libraries number the same steps otherwise. */
export const whatsappWebJsAcks: ReadonlyMap<unknown, EventDraft["type"]> = new Map([
  [-1, "message.failed"],
  [0, "message.queued"],
  [1, "message.sent"],
  [2, "message.delivered"],
  [3, "message.read"],
  [4, "message.played"],
]);

/** `message` and `message_create`, which come both for a message of somebody else and are one event then. */
export function readMessage({ message }: UntrustedRecord, place: WebPlace): Reading {
  const about = aboutMessage(message);
  if (typeof about === "string") return about;
  const { item, id, fromMe, parties } = about;
  if (isSystemMessage(item.type)) return "no_analytics_meaning";
  const stamp = stampOf(item.timestamp, instantOfSeconds, place);
  if (typeof stamp === "string") return stamp;
  const draft = {
    ...webBaseOf(place),
    ...stamp,
    ...parties,
    ...contentOf(item),
    message_id: id,
    reply_to: quotedId(item, about),
  };
  if (!fromMe) return [{ ...draft, type: "message.received" }];
  return outboundMessage({ ...draft, origin: originOf(item.deviceType) }, whatsappWebJsAcks.get(item.ack));
}

/** A step of our own message. Its `timestamp` is that of the message: when the step was taken nobody says. */
export function readAck({ message, ack }: UntrustedRecord, place: WebPlace): Reading {
  const about = aboutMessage(message);
  if (typeof about === "string") return about;
  // Our reading of somebody else's message.
  if (!about.fromMe) return "no_analytics_meaning";
  const type = whatsappWebJsAcks.get(ack);
  if (type === undefined) return "unknown_status";
  const parties = receiptPartiesOf(about.chat, undefined);
  return [{ ...webBaseOf(place), ...place.arrival, ...parties, type, message_id: about.id }];
}

export function readReaction({ reaction }: UntrustedRecord, place: WebPlace): Reading {
  if (!isRecord(reaction)) return "unknown_shape";
  const id = serialized(reaction.id);
  const target = serialized(reaction.msgId);
  if (id === undefined) return "missing_id";
  const parsed = parseSerializedId(id);
  const fromMe = asRecord(reaction.id).fromMe === true || parsed?.fromMe === true;
  const chat = serialized(asRecord(reaction.id).remote) ?? parsed?.chat ?? parseSerializedId(target)?.chat;
  if (isBroadcastFeed(chat)) return "no_analytics_meaning";
  const stamp = stampOf(reaction.timestamp, instantOfSeconds, place);
  if (typeof stamp === "string") return stamp;
  const parties = partiesOf(fromMe ? "outbound" : "inbound", chat, serialized(reaction.senderId));
  return reactionOf({ ...webBaseOf(place), ...stamp, ...parties, message_id: id }, target, reaction.reaction);
}

export function readEdit({ message, newBody }: UntrustedRecord, place: WebPlace): Reading {
  const about = aboutMessage(message);
  if (typeof about === "string") return about;
  const { item, id, parties } = about;
  const editedAt = item.latestEditSenderTimestampMs ?? asRecord(item._data).latestEditSenderTimestampMs;
  const stamp = stampOf(editedAt, instantOfMs, place);
  if (typeof stamp === "string") return stamp;
  const content = { ...contentOf(item), text_length: textLength(newBody ?? item.body) };
  return [{ ...webBaseOf(place), ...stamp, ...parties, ...content, type: "message.edited", message_id: id }];
}

/** `before` is the message as it was, if the library still had it; what came after it may have an id of its own. */
export function readRevoke({ after, before }: UntrustedRecord, place: WebPlace): Reading {
  const about = aboutMessage(isRecord(before) ? before : after);
  if (typeof about === "string") return about;
  const { item, parties } = about;
  const id = serialized(item.protocolMessageKey) ?? about.id;
  return [{ ...webBaseOf(place), ...place.arrival, ...parties, type: "message.revoked", message_id: id }];
}

interface About {
  item: UntrustedRecord;
  id: string;
  fromMe: boolean;
  chat: string | undefined;
  parties: Parties;
}

function aboutMessage(message: unknown): About | "unknown_shape" | "missing_id" | "no_analytics_meaning" {
  if (!isRecord(message)) return "unknown_shape";
  const id = serialized(message.id);
  if (id === undefined) return "missing_id";
  const key = asRecord(message.id);
  const parsed = parseSerializedId(id);
  const fromMe =
    [message.fromMe, key.fromMe, parsed?.fromMe].find((said) => typeof said === "boolean") === true;
  const chat = serialized(key.remote) ?? parsed?.chat ?? serialized(fromMe ? message.to : message.from);
  if (message.isStatus === true || isBroadcastFeed(chat)) return "no_analytics_meaning";
  const parties = partiesOf(fromMe ? "outbound" : "inbound", chat, serialized(message.author));
  return { item: message, id, fromMe, chat, parties };
}

/** Ids and addresses are texts, or objects with the text in them. */
const serialized = (value: unknown): string | undefined =>
  asText(isRecord(value) ? value._serialized : value);

/**
 * The message that is answered. The library keeps WhatsApp's id of it and who wrote it; whose it is can be told where
 * there are two sides only.
 */
function quotedId(item: UntrustedRecord, { chat, parties }: About): string | undefined {
  const { quotedStanzaID, quotedParticipant } = asRecord(item._data);
  const core = asText(quotedStanzaID);
  const author = serialized(quotedParticipant);
  if (core === undefined || author === undefined || parties.chat_kind !== "direct") return undefined;
  return `${userOf(author) !== parties.contact_id}_${chat}_${core}`;
}

/** Which device wrote our message. One linked like this session may be a person's browser as well as a program. */
const originOf = (deviceType: unknown): string =>
  deviceType === "android" || deviceType === "ios" ? "phone_app" : "unknown";
