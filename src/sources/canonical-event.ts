import { z } from "zod";
import { safeText } from "../safe-text.js";

/** Every kind of fact the service knows. The order of the message stages is their rank. */
export const eventTypes = [
  "message.queued",
  "message.accepted",
  "message.sent",
  "message.delivered",
  "message.read",
  "message.played",
  "message.failed",
  "message.deleted",
  "message.received",
  "message.edited",
  "message.revoked",
  "reaction.added",
  "reaction.removed",
  "preference.changed",
  "template.changed",
  "channel.changed",
] as const;
export type EventType = (typeof eventTypes)[number];

/** How much a time is worth: said by WhatsApp, by a gateway, by our own clock, or concluded from another stage. */
export const timeQualities = ["provider", "gateway", "observed", "inferred"] as const;
export type TimeQuality = (typeof timeQualities)[number];

/** No event is older than WhatsApp itself. */
export const EARLIEST_EVENT_MS = Date.UTC(2009, 0, 1);
/** Clocks of senders may run ahead by this much. */
export const FUTURE_TOLERANCE_MS = 24 * 3_600_000;

const ID_LENGTH = 512;
const TEXT_LENGTH = 1024;

const id = safeText(ID_LENGTH);

/** The wire form of one event (`POST /analytics/events`), after which every source is modelled. Times are RFC 3339. */
export const canonicalEvent = z.strictObject({
  account_id: safeText(128),
  type: z.enum(eventTypes),
  message_id: id.optional(),
  occurred_at: z.iso.datetime({ offset: true }),
  event_id: id.optional(),
  channel_id: id.optional(),
  direction: z.enum(["inbound", "outbound", "none"]).optional(),
  chat_id: id.optional(),
  contact_id: id.optional(),
  participant_id: id.optional(),
  chat_kind: z.enum(["direct", "group", "broadcast", "newsletter"]).optional(),
  content_kind: safeText(64).optional(),
  text_length: z.int().min(0).max(1_000_000).optional(),
  reply_to: id.optional(),
  reaction: z.strictObject({ target: id, emoji: safeText(64).optional() }).optional(),
  interactive: z
    .strictObject({ kind: safeText(64), id: id.optional(), title: safeText(TEXT_LENGTH).optional() })
    .optional(),
  origin: safeText(64).optional(),
  agent_id: id.optional(),
  template: z
    .strictObject({
      name: id,
      id: id.optional(),
      language: safeText(32).optional(),
      category: safeText(64).optional(),
    })
    .optional(),
  /** What a `*.changed` event says: `{kind:"marketing_messages", value:"stop"}`, `{kind:"status", value:"REJECTED"}`. */
  change: z
    .strictObject({
      kind: safeText(64),
      value: safeText(256),
      previous: safeText(256).optional(),
      detail: safeText(TEXT_LENGTH).optional(),
      subject: id.optional(),
    })
    .optional(),
  campaign_id: id.optional(),
  tags: z.array(safeText(128)).max(32).optional(),
  error: z
    .strictObject({
      code: z.union([z.int(), safeText(64)]).transform(String),
      class: safeText(64).optional(),
      title: safeText(TEXT_LENGTH).optional(),
    })
    .optional(),
  pricing: z
    .strictObject({
      billable: z.boolean().optional(),
      model: safeText(64).optional(),
      category: safeText(64).optional(),
      type: safeText(64).optional(),
    })
    .optional(),
  source: safeText(64).optional(),
  time_quality: z.enum(timeQualities).optional(),
});

/** What a sender writes. */
export type EventJson = z.input<typeof canonicalEvent>;
/** The same after the checks: error codes are text. */
export type CanonicalEvent = z.output<typeof canonicalEvent>;
/** What an adapter makes of a provider's payload: which account it belongs to is decided by its channel, later. */
export type SourceEvent = Omit<CanonicalEvent, "account_id">;

/** Types that speak of no single message. */
const WITHOUT_MESSAGE: ReadonlySet<EventType> = new Set([
  "preference.changed",
  "template.changed",
  "channel.changed",
]);

export const needsMessageId = (type: EventType): boolean => !WITHOUT_MESSAGE.has(type);

/** Something a source sent that is no event: kept with its reason, never an error to the sender. */
export interface Quarantined {
  /** Stable snake_case reason, listed in docs/sources.md. */
  reason: string;
  /** What it was, as far as known: `field:calls`, `message:unknown`, `status:warning`. */
  kind: string;
  channelId: string | undefined;
  payload: unknown;
}

/** One provider payload, understood. Every item of the payload is in `events` or in `quarantined`. */
export interface SourceBatch {
  /** `namedAccount`: the account that the payload names for when its channel is mapped to none; empty if it names none. */
  events: { namedAccount: string; event: SourceEvent }[];
  quarantined: (Quarantined & { namedAccount: string })[];
}

/** Reads a source's payload. `receivedAt` (RFC 3339) is for what the source gives no time of: adapters know no clock. */
export type ReadSource = (payload: unknown, receivedAt: string) => SourceBatch;
