import type { EventDraft, Reading } from "./source-batch.js";
import {
  asInstant,
  asRecord,
  asText,
  isRecord,
  present,
  textLength,
  type UntrustedRecord,
} from "./untrusted.js";
import { baseOf, type CloudPlace, contactOf } from "./whatsapp-cloud-place.js";

/** Types that are counted under their own name. Everything else that is a message counts as `unsupported`. */
const CONTENT_KINDS: ReadonlySet<string> = new Set([
  ...["text", "image", "video", "document", "sticker", "audio", "voice", "location", "contacts"],
  ...["interactive", "button", "order", "template", "media_placeholder"],
]);
/** `unsupported.type` of what changes another message without naming it: no new message, so no volume. */
const NAMELESS_CHANGES: ReadonlySet<string> = new Set(["edit", "revoke", "pin", "reaction"]);

type Side = "inbound" | "outbound";
/** What every event made from one message shares. */
type Common = Omit<EventDraft, "type" | "message_id">;

/** One element of `messages[]`: what a user wrote, changed, or reacted with. */
export const readMessage = (item: unknown, place: CloudPlace): Reading => readSide(item, place, "inbound");

/** One element of `message_echoes[]`: what the business's staff did in the phone app. */
export const readEcho = (item: unknown, place: CloudPlace): Reading => readSide(item, place, "outbound");

function readSide(item: unknown, place: CloudPlace, side: Side): Reading {
  if (!isRecord(item) || typeof item.type !== "string") return "unknown_shape";
  if (item.type === "system") return "contact_identity_change";
  if (item.type === "request_welcome") return "no_analytics_meaning";
  const messageId = asText(item.id);
  if (messageId === undefined) return "missing_id";
  const occurredAt = asInstant(item.timestamp);
  if (occurredAt === undefined) return "bad_timestamp";
  const common = commonOf(item, place, side, occurredAt);
  if (item.type === "reaction") return reactionOf(asRecord(item.reaction), messageId, common);
  if (item.type === "edit" || item.type === "revoke") return changeOf(item, item.type, common);
  const unsupported = asRecord(item.unsupported).type;
  if (item.type === "unsupported" && typeof unsupported === "string" && NAMELESS_CHANGES.has(unsupported))
    return "unsupported_change";
  return [
    {
      ...common,
      ...contentOf(item),
      type: side === "inbound" ? "message.received" : "message.sent",
      message_id: messageId,
      reply_to: asText(asRecord(item.context).id),
    },
  ];
}

function commonOf(item: UntrustedRecord, place: CloudPlace, side: Side, occurredAt: string): Common {
  const contactId =
    side === "inbound"
      ? contactOf(item.from, item.from_user_id, place)
      : contactOf(item.to, item.to_user_id, place);
  const groupId = asText(item.group_id);
  return {
    ...baseOf(place),
    occurred_at: occurredAt,
    direction: side,
    chat_kind: groupId === undefined ? "direct" : "group",
    chat_id: groupId ?? contactId,
    contact_id: contactId,
    participant_id: groupId === undefined || side === "outbound" ? undefined : contactId,
    origin: side === "outbound" ? "phone_app" : undefined,
  };
}

/** A removal is a reaction without an emoji. */
function reactionOf(reaction: UntrustedRecord, messageId: string, common: Common): Reading {
  const target = asText(reaction.message_id);
  if (target === undefined) return "missing_id";
  const emoji = asText(reaction.emoji);
  return emoji === undefined
    ? [{ ...common, type: "reaction.removed", message_id: messageId, reaction: { target } }]
    : [{ ...common, type: "reaction.added", message_id: messageId, reaction: { target, emoji } }];
}

/** Edits and revokes come as messages with an id of their own, but they are about the original one. */
function changeOf(item: UntrustedRecord, type: "edit" | "revoke", common: Common): Reading {
  const body = asRecord(item[type]);
  const original = asText(body.original_message_id);
  if (original === undefined) return "missing_id";
  if (type === "revoke") return [{ ...common, type: "message.revoked", message_id: original }];
  const content = isRecord(body.message) ? contentOf(body.message) : {};
  return [{ ...common, ...content, type: "message.edited", message_id: original }];
}

function contentOf(item: UntrustedRecord): Pick<EventDraft, "content_kind" | "text_length" | "interactive"> {
  const type = typeof item.type === "string" && CONTENT_KINDS.has(item.type) ? item.type : "unsupported";
  const body = asRecord(item[type]);
  return {
    content_kind: type === "audio" && body.voice === true ? "voice" : type,
    text_length: textLength(type === "text" ? body.body : body.caption),
    interactive: interactiveOf(type, body),
  };
}

function interactiveOf(type: string, body: UntrustedRecord): EventDraft["interactive"] {
  if (type === "button")
    return { kind: "button", ...present({ id: asText(body.payload), title: asText(body.text) }) };
  const kind = type === "interactive" ? asText(body.type) : undefined;
  if (kind === undefined) return undefined;
  const reply = asRecord(body[kind]);
  // A flow's reply has a name instead of an id, and its body is what the user filled in: no title. A call
  // permission has nothing but its answer.
  if (kind === "nfm_reply") return { kind, ...present({ id: asText(reply.name) }) };
  if (kind === "call_permission_reply") return { kind, ...present({ id: asText(reply.response) }) };
  return { kind, ...present({ id: asText(reply.id), title: asText(reply.title) }) };
}
