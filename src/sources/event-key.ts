import { hash as digest } from "node:crypto";
import type { SourceEvent } from "./canonical-event.js";

type Field = string | number | undefined;

const SPECIAL = /[\\|]/g;
/** Fields stay apart whatever they hold. Canonical texts are never empty, so an absent field has a form of its own. */
const joined = (fields: readonly Field[]): string =>
  fields
    .map((field) => {
      if (field === undefined) return "";
      const text = String(field);
      return text.includes("|") || text.includes("\\") ? text.replace(SPECIAL, "\\$&") : text;
    })
    .join("|");

/** A provider repeats a status with the same time; a gateway that gives none makes up a new one with each repetition. */
const statusTime = ({ time_quality, occurred_at }: SourceEvent): Field =>
  time_quality === "observed" || time_quality === "inferred" ? "-" : Date.parse(occurred_at);

function reactionFields(event: SourceEvent): Field[] {
  const { target, emoji } = event.reaction ?? {};
  return [
    event.channel_id,
    event.direction ?? "inbound",
    event.participant_id ?? event.contact_id,
    target,
    emoji,
    Date.parse(event.occurred_at),
    ...(target === undefined ? [event.message_id] : []),
  ];
}

/** Events without a message are told apart by everything they say. */
function changeFields(event: SourceEvent): Field[] {
  const { change, template } = event;
  return [
    ...[event.type, event.channel_id, event.message_id, event.direction],
    ...[event.contact_id, event.chat_id, event.participant_id],
    ...[template?.name, template?.id, template?.language, template?.category],
    ...[change?.kind, change?.value, change?.previous, change?.detail, change?.subject],
    Date.parse(event.occurred_at),
  ];
}

/**
 * What makes an event the same event when it is sent again, as text. Unique within an account, which it leaves out.
 * An `event_id` that was sent decides alone; the formulas for the rest are in docs/sources.md.
 */
export function eventKeyText(event: SourceEvent): string {
  if (event.event_id !== undefined) return joined(["id", event.event_id]);
  const { type, channel_id, message_id } = event;
  switch (type) {
    case "message.received":
      return joined(["in", channel_id, message_id]);
    case "message.edited":
      return joined(["ed", message_id, Date.parse(event.occurred_at)]);
    case "message.revoked":
      return joined(["rv", message_id, Date.parse(event.occurred_at)]);
    case "reaction.added":
      return joined(["re", ...reactionFields(event)]);
    case "reaction.removed":
      return joined(["rr", ...reactionFields(event)]);
    case "preference.changed":
    case "template.changed":
    case "channel.changed":
      return joined(["ch", ...changeFields(event)]);
    default: {
      const status = ["st", channel_id, message_id, type, event.participant_id, statusTime(event)];
      return joined(type === "message.failed" ? [...status, event.error?.code] : status);
    }
  }
}

export interface EventKey {
  /** The first 128 bits of the SHA-256 of the text in the notation of a UUID; no bit says a version. */
  key: string;
  /** 19 other bits of it, unsigned: an even spread for buckets that is independent of the key. */
  hash: number;
}

const HASH_HEX_DIGITS = 5;
const HASH_MASK = 0x7ffff;

export function eventKey(event: SourceEvent): EventKey {
  const hex = digest("sha256", eventKeyText(event));
  return {
    key: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`,
    hash: Number.parseInt(hex.slice(32, 32 + HASH_HEX_DIGITS), 16) & HASH_MASK,
  };
}
