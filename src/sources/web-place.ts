import type { TimeQuality } from "./canonical-event.js";
import type { EventDraft, ItemPlace, QuarantineReason } from "./source-batch.js";
import { asText, type UntrustedRecord } from "./untrusted.js";
import { instantOfMs } from "./web-time.js";

/** What surrounds an event of a library or gateway that speaks WhatsApp's web protocol. */
export interface WebPlace {
  source: string;
  /** The session: one linked phone. */
  channelId: string | undefined;
  /** When the event came: the best time there is for what has none of its own. */
  arrival: Stamp;
}

/** A time and its worth. */
export type Stamp = { occurred_at: string; time_quality: TimeQuality };

/** `timestamp` (ms) is when the sender of the envelope saw the event; without it, our own clock has to do. */
export function webPlaceOf(source: string, envelope: UntrustedRecord, receivedAt: string): WebPlace {
  const stamped = instantOfMs(envelope.timestamp);
  return {
    source,
    channelId: asText(envelope.session),
    arrival:
      stamped === undefined
        ? { occurred_at: receivedAt, time_quality: "observed" }
        : { occurred_at: stamped, time_quality: "gateway" },
  };
}

/** What every event of a place has in common. */
export const webBaseOf = (place: WebPlace): Pick<EventDraft, "source" | "channel_id"> => ({
  source: place.source,
  channel_id: place.channelId,
});

/** No account is named: the session's mapping decides, or who delivers. */
export const webItemPlace = (place: WebPlace, kind: string): ItemPlace => ({
  namedAccount: "",
  channelId: place.channelId,
  kind,
});

/** WhatsApp's own time, read by `read`. Where it is left out, that of the arrival; nonsense is refused. */
export function stampOf(
  value: unknown,
  read: (value: unknown) => string | undefined,
  place: WebPlace,
): Stamp | "bad_timestamp" {
  if (value === undefined || value === null) return place.arrival;
  const instant = read(value);
  return instant === undefined ? "bad_timestamp" : { occurred_at: instant, time_quality: "provider" };
}

/**
 * Our own message, and how far it had come when we heard of it. When it got there nobody says: a later stage is an
 * event of its own with an inferred time.
 */
export function outboundMessage(
  message: Omit<EventDraft, "type">,
  stage: EventDraft["type"] | undefined,
): EventDraft[] {
  if (stage === "message.queued") return [{ ...message, type: stage }];
  if (stage === "message.failed") return [{ ...message, type: stage, time_quality: "inferred" }];
  const sent: EventDraft = { ...message, type: "message.sent" };
  if (stage === undefined || stage === "message.sent") return [sent];
  return [sent, { ...sent, type: stage, time_quality: "inferred" }];
}

/** A removal is a reaction without an emoji. */
export function reactionOf(
  common: Omit<EventDraft, "type">,
  target: string | undefined,
  emoji: unknown,
): EventDraft[] | QuarantineReason {
  if (target === undefined) return "missing_id";
  const added = asText(emoji);
  return added === undefined
    ? [{ ...common, type: "reaction.removed", reaction: { target } }]
    : [{ ...common, type: "reaction.added", reaction: { target, emoji: added } }];
}
