import type { EventDraft } from "./source-batch.js";
import { asRecord, asText, present, textLength, type UntrustedRecord } from "./untrusted.js";

/** `MessageTypes` of WhatsApp Web by the kinds that the Cloud API counts. Every other message is `unsupported`. */
const CONTENT_KINDS: ReadonlyMap<unknown, string> = new Map([
  ["chat", "text"],
  ["image", "image"],
  ["video", "video"],
  ["ptv", "video"],
  ["document", "document"],
  ["sticker", "sticker"],
  ["audio", "audio"],
  ["ptt", "voice"],
  ["location", "location"],
  ["vcard", "contacts"],
  ["multi_vcard", "contacts"],
  ["order", "order"],
  ["list", "interactive"],
  ["interactive", "interactive"],
  ["native_flow", "interactive"],
  ["buttons_response", "interactive"],
  ["list_response", "interactive"],
  ["template_button_reply", "button"],
  ["hsm", "template"],
]);
/** What the app tells its user: nobody wrote it. A text that could not be decrypted yet comes again. */
const SYSTEM_TYPES: ReadonlySet<unknown> = new Set([
  ...["notification", "notification_template", "group_notification", "broadcast_notification", "gp2"],
  ...["e2e_notification", "call_log", "protocol", "ciphertext", "debug", "reaction", "revoked"],
  ...["pinned_message", "poll_vote"],
]);
/** Whose body is words and no thumbnail, card or id. */
const WRITTEN: ReadonlySet<string> = new Set(["text", "image", "video", "document"]);

export const isSystemMessage = (type: unknown): boolean => SYSTEM_TYPES.has(type);

export const contentKindOf = (type: unknown): string | undefined => CONTENT_KINDS.get(type);

type Content = Pick<EventDraft, "content_kind" | "text_length" | "interactive">;

export function contentOf(item: UntrustedRecord): Content {
  const kind = contentKindOf(item.type) ?? "unsupported";
  const raw = asRecord(item._data);
  return {
    content_kind: kind,
    text_length: WRITTEN.has(kind) ? textLength(item.body) : undefined,
    interactive: interactiveOf(item, raw),
  };
}

/** Which of our buttons or rows was chosen. */
function interactiveOf(item: UntrustedRecord, raw: UntrustedRecord): EventDraft["interactive"] {
  const title = asText(item.body);
  const button = asText(item.selectedButtonId) ?? asText(raw.selectedButtonId);
  const row =
    asText(item.selectedRowId) ??
    asText(asRecord(asRecord(raw.listResponse).singleSelectReply).selectedRowId);
  switch (item.type) {
    case "buttons_response":
      return { kind: "button_reply", ...present({ id: button, title }) };
    case "list_response":
      return { kind: "list_reply", ...present({ id: row, title }) };
    case "template_button_reply":
      return { kind: "button", ...present({ id: button ?? asText(raw.selectedId), title }) };
    default:
      return undefined;
  }
}
