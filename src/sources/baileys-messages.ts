import { contentOf, messageBody, replyTo } from "./baileys-content.js";
import { isBroadcastFeed, partiesOf, preferPhone, receiptPartiesOf } from "./jid.js";
import type { EventDraft, Reading } from "./source-batch.js";
import { asRecord, asText, isRecord, type UntrustedRecord } from "./untrusted.js";
import { outboundMessage, reactionOf, type Stamp, stampOf, type WebPlace, webBaseOf } from "./web-place.js";
import { instantOfMs, instantOfSeconds } from "./web-time.js";

/** `WebMessageInfo.Status` of the protocol, by number and by name. Other libraries number the same steps otherwise. */
export const baileysAcks: ReadonlyMap<unknown, EventDraft["type"]> = new Map<unknown, EventDraft["type"]>([
  [0, "message.failed"],
  [1, "message.queued"],
  [2, "message.sent"],
  [3, "message.delivered"],
  [4, "message.read"],
  [5, "message.played"],
  ["ERROR", "message.failed"],
  ["PENDING", "message.queued"],
  ["SERVER_ACK", "message.sent"],
  ["DELIVERY_ACK", "message.delivered"],
  ["READ", "message.read"],
  ["PLAYED", "message.played"],
]);

/** An element of `messages`: new, of another device of ours, or out of the phone's history. */
export function readMessage(item: unknown, place: WebPlace): Reading {
  if (!isRecord(item)) return "unknown_shape";
  const about = aboutKey(item.key);
  if (typeof about === "string") return about;
  const body = messageBody(item.message);
  if (body === "nothing written") return "no_analytics_meaning";
  if (body?.name === "reactionMessage")
    return readReaction({ key: body.part.key, reaction: { ...body.part, key: item.key } }, place);
  if (body === undefined) return "unknown_shape";
  const stamp = secondsOf(item.messageTimestamp, place);
  if (typeof stamp === "string") return stamp;
  const author = about.author ?? asText(item.participant);
  const draft = {
    ...webBaseOf(place),
    ...stamp,
    ...partiesOf(about.side, about.chat, author),
    ...contentOf(body),
    message_id: about.id,
    reply_to: replyTo(body),
  };
  if (about.side === "inbound") return [{ ...draft, type: "message.received" }];
  return outboundMessage({ ...draft, origin: "unknown" }, baileysAcks.get(item.status));
}

/** An element of `messages.update`: a step of our message, an edit, or that a message was deleted for everyone. */
export function readUpdate(item: unknown, place: WebPlace): Reading {
  const { key, update } = asRecord(item);
  if (!isRecord(update)) return "unknown_shape";
  const about = aboutKey(key);
  if (typeof about === "string") return about;
  const stamp = secondsOf(update.messageTimestamp, place);
  if (typeof stamp === "string") return stamp;
  const { side, chat, author, id } = about;
  const common = { ...webBaseOf(place), ...stamp, message_id: id };
  if (update.message === null)
    return [{ ...common, ...partiesOf(side, chat, author), type: "message.revoked" }];
  const edited = asRecord(update.message).editedMessage;
  if (isRecord(edited)) {
    const body = messageBody(edited.message);
    const content = typeof body === "object" ? contentOf(body) : {};
    return [{ ...common, ...partiesOf(side, chat, author), ...content, type: "message.edited" }];
  }
  // Without a status: stars, polls, links. With one on somebody else's message: that we have read it.
  if (update.status === undefined || update.status === null || side === "inbound")
    return "no_analytics_meaning";
  const type = baileysAcks.get(update.status);
  return type === undefined ? "unknown_status" : [{ ...common, ...receiptPartiesOf(chat, undefined), type }];
}

const RECEIPT_TIMES = [
  ["receiptTimestamp", "message.delivered"],
  ["readTimestamp", "message.read"],
  ["playedTimestamp", "message.played"],
] as const;

/** An element of `message-receipt.update`: how far our message has come with one of its readers. */
export function readReceipt(item: unknown, place: WebPlace): Reading {
  const { key, receipt } = asRecord(item);
  if (!isRecord(receipt)) return "unknown_shape";
  const about = aboutKey(key);
  if (typeof about === "string") return about;
  if (about.side === "inbound") return "no_analytics_meaning";
  const reader = preferPhone(asText(receipt.userJid), readerPhone(asRecord(key), receipt));
  const parties = receiptPartiesOf(about.chat, reader);
  const events: EventDraft[] = [];
  for (const [name, type] of RECEIPT_TIMES) {
    if (isAbsent(receipt[name])) continue;
    const stamp = secondsOf(receipt[name], place);
    if (typeof stamp === "string") return stamp;
    events.push({ ...webBaseOf(place), ...stamp, ...parties, type, message_id: about.id });
  }
  return events.length === 0 ? "bad_timestamp" : events;
}

/** An element of `messages.reaction`. The same comes as a message of `messages.upsert` and is one event with it. */
export function readReaction(item: unknown, place: WebPlace): Reading {
  const { key, reaction } = asRecord(item);
  if (!isRecord(reaction)) return "unknown_shape";
  const about = aboutKey(reaction.key);
  if (typeof about === "string") return about;
  const at = reaction.senderTimestampMs;
  const stamp = stampOf(isAbsent(at) ? undefined : at, instantOfMs, place);
  if (typeof stamp === "string") return stamp;
  const parties = partiesOf(about.side, about.chat, about.author);
  const common = { ...webBaseOf(place), ...stamp, ...parties, message_id: about.id };
  return reactionOf(common, asText(asRecord(key).id), reaction.text);
}

/** A key of `messages.delete`. */
export function readDeleted(key: unknown, place: WebPlace): Reading {
  const about = aboutKey(key);
  if (typeof about === "string") return about;
  const parties = partiesOf(about.side, about.chat, about.author);
  return [
    { ...webBaseOf(place), ...place.arrival, ...parties, type: "message.deleted", message_id: about.id },
  ];
}

interface About {
  id: string;
  side: "inbound" | "outbound";
  chat: string | undefined;
  author: string | undefined;
}

function aboutKey(key: unknown): About | "unknown_shape" | "missing_id" | "no_analytics_meaning" {
  if (!isRecord(key)) return "unknown_shape";
  const id = asText(key.id);
  if (id === undefined) return "missing_id";
  if (isBroadcastFeed(asText(key.remoteJid))) return "no_analytics_meaning";
  return {
    id,
    side: key.fromMe === true ? "outbound" : "inbound",
    chat: preferPhone(asText(key.remoteJid), asText(key.remoteJidAlt)),
    author: preferPhone(asText(key.participant), asText(key.participantAlt)),
  };
}

/** The key's participant is the reader in a receipt; its other address may be the phone. */
const readerPhone = (key: UntrustedRecord, receipt: UntrustedRecord): string | undefined =>
  key.participant === receipt.userJid ? asText(key.participantAlt) : undefined;

/** Protobuf leaves 0 where nothing was set. */
const isAbsent = (time: unknown): boolean =>
  time === undefined ||
  time === null ||
  time === 0 ||
  time === "0" ||
  (isRecord(time) && time.low === 0 && time.high === 0);

const secondsOf = (time: unknown, place: WebPlace): Stamp | "bad_timestamp" =>
  stampOf(isAbsent(time) ? undefined : time, instantOfSeconds, place);
