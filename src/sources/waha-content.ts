import { messageBody, contentOf as protocolContentOf } from "./baileys-content.js";
import type { EventDraft } from "./source-batch.js";
import { asList, asRecord, asText, isRecord, textLength, type UntrustedRecord } from "./untrusted.js";
import { isSystemMessage, contentOf as webContentOf } from "./whatsapp-web-js-content.js";

type Content = Pick<EventDraft, "content_kind" | "text_length" | "interactive">;

/** What a message is, by what the engine said of it (`_data`), else by what WAHA makes of every engine's. */
export function contentOf(item: UntrustedRecord): Content | "nothing written" {
  const { type, message } = asRecord(item._data);
  if (typeof type === "string") {
    if (isSystemMessage(type)) return "nothing written";
    return webContentOf({ type, body: item.body, _data: item._data });
  }
  if (isRecord(message)) {
    const body = messageBody(message);
    if (body === "nothing written") return body;
    if (body !== undefined) return protocolContentOf(body);
  }
  const kind = plainKind(item);
  return { content_kind: kind, text_length: kind === "unsupported" ? undefined : textLength(item.body) };
}

function plainKind(item: UntrustedRecord): string {
  const mime = asText(asRecord(item.media).mimetype);
  if (mime !== undefined) return mediaKind(mime);
  if (item.hasMedia === true) return "media_placeholder";
  if (isRecord(item.location)) return "location";
  if (asList(item.vCards).length > 0) return "contacts";
  return asText(item.body) === undefined ? "unsupported" : "text";
}

/** WhatsApp's stickers are the only WebP images, its voice notes the only Opus. */
function mediaKind(mime: string): string {
  if (mime.startsWith("image/webp")) return "sticker";
  if (mime.startsWith("audio/ogg")) return "voice";
  const [family = ""] = mime.split("/");
  return ["image", "video", "audio"].includes(family) ? family : "document";
}
