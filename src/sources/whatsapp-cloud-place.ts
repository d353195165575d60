import type { EventDraft } from "./source-batch.js";
import { asList, asRecord, asText, type UntrustedRecord } from "./untrusted.js";

/** What surrounds an item of a webhook: its entry and the value of its change. */
export interface CloudPlace {
  wabaId: string;
  channelId: string | undefined;
  /** The business number as digits: tells the two sides of a history apart. */
  businessPhone: string | undefined;
  contacts: readonly UntrustedRecord[];
  /** `entry.time`: when Meta sent the notification. */
  entryTime: unknown;
}

/** What every event of this source has in common. */
export const baseOf = (place: CloudPlace): Pick<EventDraft, "source" | "time_quality" | "channel_id"> => ({
  source: "whatsapp_cloud",
  time_quality: "provider",
  channel_id: place.channelId,
});

const digitsOf = (value: unknown): string | undefined => asText(value)?.replace(/\D/g, "") || undefined;

export function placeOf(wabaId: string, entryTime: unknown, value: UntrustedRecord): CloudPlace {
  const metadata = asRecord(value.metadata);
  return {
    wabaId,
    channelId: asText(metadata.phone_number_id),
    businessPhone: digitsOf(metadata.display_phone_number),
    contacts: asList(value.contacts).map(asRecord),
    entryTime,
  };
}

export const isBusinessPhone = (value: unknown, place: CloudPlace): boolean =>
  place.businessPhone !== undefined && digitsOf(value) === place.businessPhone;

/**
 * Who an item is about: the phone if Meta gives it, else the business-scoped user id. Users with a username may come
 * without a phone in the item while the webhook's contact list still has it, so that list is asked in between.
 */
export function contactOf(phone: unknown, userId: unknown, place: CloudPlace): string | undefined {
  const fromPhone = asText(phone);
  if (fromPhone !== undefined) return fromPhone;
  const fromUser = asText(userId);
  const listed =
    fromUser === undefined
      ? place.contacts.length === 1
        ? place.contacts[0]
        : undefined
      : place.contacts.find((contact) => asText(contact.user_id) === fromUser);
  return asText(listed?.wa_id) ?? fromUser ?? asText(listed?.user_id);
}
