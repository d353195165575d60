import type { ChatMessage } from "./chat-messages.js";

/** What a message holds. `key` is its text as every export of the chat has it, with or without its media. */
export interface ChatContent {
  kind: string;
  /** What was written, without the line that stands for an attachment. */
  text: string;
  key: string;
}

const IMAGE = ["jpg", "jpeg", "png", "heic", "gif"];
const VIDEO = ["mp4", "mov", "3gp", "avi", "mkv"];
const AUDIO = ["opus", "mp3", "m4a", "ogg", "aac", "amr", "wav"];
const KIND_OF_ENDING: Readonly<Record<string, string>> = Object.fromEntries([
  ...IMAGE.map((ending) => [ending, "image"]),
  ...VIDEO.map((ending) => [ending, "video"]),
  ...AUDIO.map((ending) => [ending, "audio"]),
  ["webp", "sticker"],
  ["vcf", "contacts"],
]);

const KIND_OF_WORD: Readonly<Record<string, string>> = {
  ...{ image: "image", video: "video", audio: "audio", sticker: "sticker", document: "document" },
  ...{ gif: "image", "contact card": "contacts" },
};

/** `<attached: 00000012-PHOTO-2025-03-01.jpg>` on iOS, in whatever language, behind what was written to it. */
const ATTACHED_IOS = /^(.*?) ?<[^<>:]{1,40}: ?[^<>]{1,255}\.(\w{2,5})>$/;
/** `IMG-20250301-WA0001.jpg (file attached)` on Android. */
const ATTACHED_ANDROID = /^(?:[A-Z]{3}-\d{8}-WA\d{3,6}|[^\n]{1,200})\.(\w{2,5}) \([^()]{4,40}\)$/;
/** `<Media omitted>` on Android, in whatever language: nothing else stands in angle brackets alone. */
const OMITTED_ANDROID = /^<[^<>:/]{4,60}>$/;
/** The same without the file. */
const OMITTED_ENGLISH = /^(.*?) ?\b(image|video|audio|sticker|document|GIF|contact card) omitted$/i;
/** And in other languages. */
const OMITTED_IOS =
  /(omitted|omitid[oa]|ausgeschlossen|weggelassen|omis[e]?|absente?|omess[oa]|weggelaten|utelämna[dt]e?s?|utelatt|udeladt|jätetty pois|pominięt[oaey]|опущен[оаы]?|atlandı|省略|생략)/i;
const DELETED =
  /^(this message was deleted|you deleted this message|se eliminó este mensaje|eliminaste este mensaje|diese nachricht wurde gelöscht|du hast diese nachricht gelöscht|essa mensagem foi apagada|mensagem apagada|ce message a été supprimé|vous avez supprimé ce message|questo messaggio è stato eliminato|hai eliminato questo messaggio)\.?$/i;
const EDITED = / ?<[^<>\n]*(edited|editado|editó|bearbeitet|modifié|modificato|editada)[^<>\n]*>$/i;

/** What a message holds; undefined when WhatsApp speaks in its author's name (encryption, a changed number). */
export function readContent({ head, text }: ChatMessage): ChatContent | undefined {
  const [first = "", ...more] = text.split("\n");
  const media = readMedia(first, head.markedLine || head.markedText);
  if (media) {
    const caption = [media.before, ...more].filter((line) => line !== "").join("\n");
    // What stands before a document is its name.
    return { kind: media.kind, text: media.kind === "document" ? "" : caption, key: `<media>\n${caption}` };
  }
  const written = text.replace(EDITED, "");
  if (DELETED.test(written.trim())) return { kind: "deleted", text: "", key: "<deleted>" };
  return head.markedText ? undefined : { kind: "text", text: written, key: written };
}

function readMedia(line: string, marked: boolean): { kind: string; before: string } | undefined {
  const ending = ATTACHED_ANDROID.exec(line)?.[1];
  if (ending !== undefined) return { kind: kindOf(ending), before: "" };
  if (OMITTED_ANDROID.test(line)) return { kind: "media", before: "" };
  if (!marked) return undefined;
  const attached = ATTACHED_IOS.exec(line);
  if (attached) return { kind: kindOf(attached[2]!), before: attached[1]! };
  const omitted = OMITTED_ENGLISH.exec(line);
  if (omitted) return { kind: KIND_OF_WORD[omitted[2]!.toLowerCase()]!, before: omitted[1]! };
  return OMITTED_IOS.test(line) ? { kind: "media", before: "" } : undefined;
}

const kindOf = (ending: string): string => KIND_OF_ENDING[ending.toLowerCase()] ?? "document";
