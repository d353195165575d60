import type { EventDraft } from "./source-batch.js";

/** A device of a user has the user's address with a number behind it. */
const PHONE = /^(\d+)(?:_\d+)?(?::\d+)?@(?:c\.us|s\.whatsapp\.net)$/;
const HIDDEN = /^(\d+)(?:_\d+)?(?::\d+)?@lid$/;

/** Stories and channels: everybody's posts, no messages of a conversation. */
export const isBroadcastFeed = (jid: string | undefined): boolean =>
  jid === "status@broadcast" || jid?.endsWith("@newsletter") === true;

/** Who an address is: the digits of the phone, as the Cloud API names contacts; `<digits>@lid` if WhatsApp hides it. */
export function userOf(jid: string | undefined): string | undefined {
  if (jid === undefined) return undefined;
  const phone = PHONE.exec(jid)?.[1];
  if (phone !== undefined) return phone;
  const hidden = HIDDEN.exec(jid)?.[1];
  return hidden === undefined ? jid : `${hidden}@lid`;
}

/** The one of two addresses of the same user that tells the phone. */
export const preferPhone = (jid: string | undefined, other: string | undefined): string | undefined =>
  other !== undefined && PHONE.test(other) ? other : (jid ?? other);

export type Side = "inbound" | "outbound";
export type Parties = Pick<
  EventDraft,
  "direction" | "chat_kind" | "chat_id" | "contact_id" | "participant_id"
>;

/**
 * Who takes part in a message. `author` is who wrote it, and counts in groups only: a direct chat has one other side.
 * A direct chat is named by its contact, any other by its address.
 */
export function partiesOf(side: Side, chat: string | undefined, author: string | undefined): Parties {
  const direction = side;
  if (chat?.endsWith("@g.us")) {
    const user = side === "inbound" ? userOf(author) : undefined;
    return { direction, chat_kind: "group", chat_id: chat, contact_id: user, participant_id: user };
  }
  if (chat?.endsWith("@broadcast")) return { direction, chat_kind: "broadcast", chat_id: chat };
  const user = userOf(chat);
  return { direction, chat_kind: "direct", chat_id: user, contact_id: user };
}

/** Who a receipt of our message comes from: in a group one of many, who is no contact of the message. */
export function receiptPartiesOf(chat: string | undefined, reader: string | undefined): Parties {
  const parties = partiesOf("outbound", chat, undefined);
  return parties.chat_kind === "direct" ? parties : { ...parties, participant_id: userOf(reader) };
}
