import { hash } from "node:crypto";
import type { EventDraft } from "../source-batch.js";
import { textLength } from "../untrusted.js";
import { readContent } from "./chat-content.js";
import { readDate } from "./chat-dates.js";
import { plainName } from "./chat-head.js";
import { type ChatMessage, chatMessages } from "./chat-messages.js";
import { inOrderOfLines, type MinuteRow } from "./chat-minutes.js";
import type { ChatSurvey } from "./chat-survey.js";
import type { ImportRow } from "./import-row.js";
import { localToUtc, wallMs } from "./local-time.js";
import type { TextLine } from "./text-lines.js";

export interface ChatOptions {
  me: string;
  timeZone: string;
  chatId: string | undefined;
  channelId: string | undefined;
}

/** More different messages than this apart, two equal ones of one minute are no longer told apart: no export is so long. */
const KEYS_REMEMBERED = 100_000;

/**
 * The messages of a chat as events. Their ids are made of what every export of the chat says of them, so that exports
 * that overlap count nothing twice. Equal messages of one minute are told apart by their number among each other.
 */
export const chatRows = (
  lines: AsyncIterable<TextLine>,
  survey: ChatSurvey,
  options: ChatOptions,
): AsyncGenerator<ImportRow> => inOrderOfLines(messageRows(lines, survey, options), countEqual());

async function* messageRows(
  lines: AsyncIterable<TextLine>,
  survey: ChatSurvey,
  options: ChatOptions,
): AsyncGenerator<MinuteRow> {
  const me = plainName(options.me);
  const chatId = options.chatId ?? chatIdOf(me, survey.others[0]!);
  const ordinal = countEqual();
  for await (const message of chatMessages(lines, me)) {
    const row = { row: message.line, drafts: [], problems: [] };
    const content = message.author === undefined ? undefined : readContent(message);
    const wall = content && wallOf(message, survey);
    if (!content) yield { row, minute: undefined };
    else if (wall === undefined) yield { row: { ...row, problems: [wrongDate(survey)] }, minute: undefined };
    else {
      const minute = Math.floor(wall / 60_000);
      const key = JSON.stringify([chatId, minute, message.author, content.key.normalize("NFC")]);
      const id = shortHash(JSON.stringify([key, ordinal(shortHash(key))]));
      const facts = { chatId, me, survey, channelId: options.channelId };
      const draft = draftOf(message, facts);
      draft.message_id = `chat-export:${id}`;
      draft.occurred_at = new Date(localToUtc(wall, options.timeZone)).toISOString();
      draft.content_kind = content.kind;
      if (content.text !== "") draft.text_length = textLength(content.text)!;
      yield {
        row: { ...row, drafts: [draft] },
        minute: message.head.second === undefined ? minute : undefined,
      };
    }
  }
}

const shortHash = (text: string) => hash("sha256", text).slice(0, 32);
/** A direct chat is named by the two who write in it; the name is the same in each of its exports. */
const chatIdOf = (me: string, other: string) => `chat-export:${shortHash(JSON.stringify([me, other]))}`;

const wrongDate = ({ order }: ChatSurvey) => ({
  field: "occurred_at",
  code: "invalid_time",
  message: `no calendar has this time, read as ${order}`,
});

function wallOf({ head }: ChatMessage, { order }: ChatSurvey): number | undefined {
  const date = readDate(head.date, head.yearFirst ? "ymd" : order);
  const { hour, minute, second = 0 } = head;
  return date && wallMs({ ...date, hour, minute, second, millisecond: 0 });
}

function draftOf(
  { author, head }: ChatMessage,
  {
    chatId,
    me,
    survey,
    channelId,
  }: { chatId: string; me: string; survey: ChatSurvey; channelId: string | undefined },
): EventDraft {
  const isOurs = author === me;
  const isGroup = survey.others.length > 1;
  const contact = isGroup ? (isOurs ? undefined : author) : survey.others[0];
  return {
    type: isOurs ? "message.sent" : "message.received",
    direction: isOurs ? "outbound" : "inbound",
    occurred_at: "",
    // A phone shows WhatsApp's time in its own zone; without seconds the rest of it is our guess.
    time_quality: head.second === undefined ? "inferred" : "gateway",
    chat_id: chatId,
    chat_kind: isGroup ? "group" : "direct",
    source: "chat_export",
    ...(channelId === undefined ? {} : { channel_id: channelId }),
    ...(contact === undefined ? {} : { contact_id: contact }),
    ...(isGroup && !isOurs ? { participant_id: author } : {}),
  };
}

/** How many equal ones came before. Forgets the oldest keys, so that memory is bounded. */
function countEqual(): (key: string) => number {
  const counts = new Map<string, number>();
  return (key) => {
    const count = counts.get(key) ?? 0;
    counts.delete(key);
    counts.set(key, count + 1);
    if (counts.size > KEYS_REMEMBERED) counts.delete(counts.keys().next().value!);
    return count;
  };
}
