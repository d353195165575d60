import { type NewEvent, textArrayLiteral } from "../db/queries/insert-events.js";
import { type CanonicalEvent, type EventType, timeQualities } from "../sources/canonical-event.js";
import { eventKey } from "../sources/event-key.js";
import { errorClassOf } from "../sources/whatsapp-cloud-errors.js";

/** Stages that only one side can cause say their direction. A deletion, edit or revocation happens on both sides. */
const DIRECTION_OF: Partial<Record<EventType, "inbound" | "outbound">> = {
  "message.received": "inbound",
  "message.queued": "outbound",
  "message.accepted": "outbound",
  "message.sent": "outbound",
  "message.delivered": "outbound",
  "message.read": "outbound",
  "message.played": "outbound",
  "message.failed": "outbound",
};

const json = (value: object | undefined): string | undefined =>
  value === undefined ? undefined : JSON.stringify(value);

/** The row of an event that passed the schema and `timeProblem`. A time without a quality counts as the provider's. */
export function toNewEvent(event: CanonicalEvent): NewEvent {
  const { key, hash } = eventKey(event);
  const { template, error } = event;
  return {
    accountId: event.account_id,
    eventKey: key,
    keyHash: hash,
    occurredAtMs: Date.parse(event.occurred_at),
    timeQuality: event.time_quality === undefined ? 0 : timeQualities.indexOf(event.time_quality),
    type: event.type,
    direction: event.direction ?? DIRECTION_OF[event.type],
    textLength: event.text_length,
    messageId: event.message_id,
    channelId: event.channel_id,
    chatId: event.chat_id,
    chatKind: event.chat_kind,
    contactId: event.contact_id,
    participantId: event.participant_id,
    contentKind: event.content_kind,
    replyTo: event.reply_to,
    origin: event.origin,
    agentId: event.agent_id,
    template: template?.name,
    templateId: template?.id,
    templateLanguage: template?.language,
    templateCategory: template?.category,
    campaignId: event.campaign_id,
    errorCode: error?.code,
    errorClass: error && (error.class ?? errorClassOf(error.code)),
    errorTitle: error?.title,
    source: event.source,
    tags: event.tags && textArrayLiteral(event.tags),
    reaction: json(event.reaction),
    interactive: json(event.interactive),
    pricing: json(event.pricing),
    change: json(event.change),
  };
}
