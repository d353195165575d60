import type { EventDraft } from "./source-batch.js";
import { asRecord, asText, isRecord, present, textLength, type UntrustedRecord } from "./untrusted.js";

/** Members of a protocol `Message` by the kinds that the Cloud API counts. Every other message is `unsupported`. */
const CONTENT_KINDS: ReadonlyMap<string, string> = new Map([
  ["conversation", "text"],
  ["extendedTextMessage", "text"],
  ["imageMessage", "image"],
  ["videoMessage", "video"],
  ["ptvMessage", "video"],
  ["documentMessage", "document"],
  ["stickerMessage", "sticker"],
  ["lottieStickerMessage", "sticker"],
  ["audioMessage", "audio"],
  ["locationMessage", "location"],
  ["liveLocationMessage", "location"],
  ["contactMessage", "contacts"],
  ["contactsArrayMessage", "contacts"],
  ["orderMessage", "order"],
  ["buttonsMessage", "interactive"],
  ["listMessage", "interactive"],
  ["interactiveMessage", "interactive"],
  ["buttonsResponseMessage", "interactive"],
  ["listResponseMessage", "interactive"],
  ["interactiveResponseMessage", "interactive"],
  ["templateButtonReplyMessage", "button"],
  ["templateMessage", "template"],
]);
/** About another message, which `messages.update` tells in turn, or about keys and calls. */
const NOTHING_WRITTEN: ReadonlySet<string> = new Set([
  ...["protocolMessage", "pollUpdateMessage", "pinInChatMessage", "keepInChatMessage", "call"],
  ...["encEventResponseMessage", "encReactionMessage", "encCommentMessage", "secretEncryptedMessage"],
  ...["callLogMesssage", "bcallMessage", "placeholderMessage"],
]);
/** Stand beside what a message is. */
const COMPANIONS: ReadonlySet<string> = new Set([
  ...["messageContextInfo", "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage"],
]);
const WRAPPERS: ReadonlySet<string> = new Set([
  ...["ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"],
  ...["documentWithCaptionMessage", "deviceSentMessage", "groupMentionedMessage", "editedMessage"],
  ...["botInvokeMessage"],
]);
/** More layers than WhatsApp ever wraps. */
const MAX_LAYERS = 8;

/** What a message is, and its part of the protocol message. */
export interface MessageBody {
  name: string;
  part: UntrustedRecord;
  text: unknown;
}

/** The innermost of what is wrapped. Without a message there is only a note of the app, or what could not be decrypted. */
export function messageBody(message: unknown): MessageBody | "nothing written" | undefined {
  if (message === undefined || message === null) return "nothing written";
  let inner: unknown = message;
  for (let layer = 0; layer < MAX_LAYERS; layer++) {
    if (!isRecord(inner)) return undefined;
    const members: UntrustedRecord = inner;
    const name = Object.keys(members).find(
      (key) => !COMPANIONS.has(key) && members[key] !== null && members[key] !== undefined,
    );
    if (name === undefined || NOTHING_WRITTEN.has(name)) return "nothing written";
    if (!WRAPPERS.has(name)) return bodyOf(name, members[name]);
    inner = asRecord(members[name]).message;
  }
  return undefined;
}

function bodyOf(name: string, value: unknown): MessageBody {
  const part = asRecord(value);
  return { name, part, text: name === "conversation" ? value : (part.text ?? part.caption) };
}

type Content = Pick<EventDraft, "content_kind" | "text_length" | "interactive">;

export function contentOf({ name, part, text }: MessageBody): Content {
  const kind = CONTENT_KINDS.get(name) ?? "unsupported";
  return {
    content_kind: kind === "audio" && part.ptt === true ? "voice" : kind,
    text_length: kind === "unsupported" ? undefined : textLength(text),
    interactive: interactiveOf(name, part),
  };
}

/** The message that is answered, by the id that it has in its key. */
export const replyTo = ({ part }: MessageBody): string | undefined =>
  asText(asRecord(part.contextInfo).stanzaId);

/** Which of our buttons or rows was chosen. */
function interactiveOf(name: string, part: UntrustedRecord): EventDraft["interactive"] {
  const chosen = asText(part.selectedDisplayText);
  switch (name) {
    case "buttonsResponseMessage":
      return { kind: "button_reply", ...present({ id: asText(part.selectedButtonId), title: chosen }) };
    case "listResponseMessage": {
      const row = asText(asRecord(part.singleSelectReply).selectedRowId);
      return { kind: "list_reply", ...present({ id: row, title: asText(part.title) }) };
    }
    case "templateButtonReplyMessage":
      return { kind: "button", ...present({ id: asText(part.selectedId), title: chosen }) };
    case "interactiveResponseMessage": {
      const flow = asText(asRecord(part.nativeFlowResponseMessage).name);
      return { kind: "nfm_reply", ...present({ id: flow }) };
    }
    default:
      return undefined;
  }
}
