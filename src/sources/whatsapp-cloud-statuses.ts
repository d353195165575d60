import type { EventDraft, Reading } from "./source-batch.js";
import { asInstant, asList, asRecord, asText, isRecord, present, type UntrustedRecord } from "./untrusted.js";
import { errorClassOf } from "./whatsapp-cloud-errors.js";
import { baseOf, type CloudPlace, contactOf } from "./whatsapp-cloud-place.js";

const STATUS_TYPES: ReadonlyMap<unknown, EventDraft["type"]> = new Map([
  ["accepted", "message.accepted"],
  ["sent", "message.sent"],
  ["delivered", "message.delivered"],
  ["read", "message.read"],
  ["played", "message.played"],
  ["failed", "message.failed"],
  ["deleted", "message.deleted"],
]);

/**
 * One element of `statuses[]`: a step in the life of a message that the business sent. `conversation` is left alone:
 * its id stopped grouping anything when Meta began to price single messages.
 */
export function readStatus(item: unknown, place: CloudPlace): Reading {
  if (!isRecord(item) || typeof item.status !== "string") return "unknown_shape";
  if (item.type === "call") return "no_analytics_meaning";
  const type = STATUS_TYPES.get(item.status);
  if (type === undefined) return "unknown_status";
  const messageId = asText(item.id);
  if (messageId === undefined) return "missing_id";
  const occurredAt = asInstant(item.timestamp);
  if (occurredAt === undefined) return "bad_timestamp";
  return [
    {
      ...baseOf(place),
      type,
      message_id: messageId,
      occurred_at: occurredAt,
      direction: "outbound",
      ...recipientOf(item, place),
      campaign_id: asText(item.biz_opaque_callback_data),
      error: type === "message.failed" ? errorOf(item.errors) : undefined,
      pricing: pricingOf(item.pricing),
    },
  ];
}

type Recipient = Pick<EventDraft, "chat_kind" | "chat_id" | "contact_id" | "participant_id">;

/** A group message has one status per participant; its chat is the group and it has no single contact. */
function recipientOf(item: UntrustedRecord, place: CloudPlace): Recipient {
  if (item.recipient_type === "group" || asText(item.recipient_participant_id) !== undefined) {
    return {
      chat_kind: "group",
      chat_id: asText(item.recipient_id),
      participant_id: contactOf(item.recipient_participant_id, item.recipient_participant_user_id, place),
    };
  }
  const contactId = contactOf(item.recipient_id, item.recipient_user_id, place);
  return { chat_kind: "direct", chat_id: contactId, contact_id: contactId };
}

/** Meta lists one error; should there be more, the first is the one that stopped the message. */
function errorOf(errors: unknown): EventDraft["error"] {
  const error = asRecord(asList(errors)[0]);
  const code = asText(error.code);
  if (code === undefined) return undefined;
  return {
    code,
    class: errorClassOf(code),
    ...present({ title: asText(error.title) ?? asText(error.message) }),
  };
}

/** As Meta said it: what is billable is never concluded from rules, which change. */
function pricingOf(value: unknown): EventDraft["pricing"] {
  const pricing = asRecord(value);
  return present({
    billable: typeof pricing.billable === "boolean" ? pricing.billable : undefined,
    model: asText(pricing.pricing_model),
    category: asText(pricing.category),
    type: asText(pricing.type),
  });
}
