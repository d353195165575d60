import { PermanentJobError } from "../../errors.js";
import { readContent } from "./chat-content.js";
import { type DateOrder, guessDateOrder } from "./chat-dates.js";
import { plainName } from "./chat-head.js";
import { chatMessages } from "./chat-messages.js";
import type { TextLine } from "./text-lines.js";

/** What has to be known of a whole chat before its first message can be read. */
export interface ChatSurvey {
  order: DateOrder;
  /** Who writes besides the business; two are enough to know a group. */
  others: readonly string[];
}

const NAMES_SHOWN = 5;

/** Reads a chat once from end to end. Throws what its owner has to say before it can be imported. */
export async function surveyChat(
  lines: AsyncIterable<TextLine>,
  asked: { me: string; chatId: string | undefined; order: DateOrder | undefined },
  nowMs: number,
): Promise<ChatSurvey> {
  const me = plainName(asked.me);
  const guess = guessDateOrder(nowMs);
  const authors = new Set<string>();
  let messages = 0;
  let yearFirst = true;
  for await (const message of chatMessages(lines, me)) {
    const { head, author } = message;
    messages += 1;
    guess.see(head.date, head.yearMayLead);
    yearFirst &&= head.yearFirst;
    // WhatsApp's own notices carry the chat's name on iOS, which is none of those who write.
    if (author === undefined || authors.has(author) || !readContent(message)) continue;
    if (author === me || authors.size <= NAMES_SHOWN) authors.add(author);
  }
  if (messages === 0)
    throw new PermanentJobError("not_a_chat", "No line of the file looks like a message of a WhatsApp chat.");
  requireAuthors(authors, me, asked.chatId);
  const order = asked.order ?? (yearFirst ? "ymd" : guess.order());
  if (order) return { order, others: [...authors].filter((author) => author !== me).slice(0, 2) };
  throw new PermanentJobError(
    "date_order_unclear",
    "The dates can be read in more than one way: say date_order=dmy, mdy or ymd.",
  );
}

function requireAuthors(authors: ReadonlySet<string>, me: string, chatId: string | undefined): void {
  if (!authors.has(me)) {
    const names = [...authors].slice(0, NAMES_SHOWN).map((name) => JSON.stringify(name));
    throw new PermanentJobError(
      "me_not_found",
      `me: nobody of this name writes in the chat. Who does: ${names.join(", ")}.`,
    );
  }
  if (authors.size !== 2 && chatId === undefined)
    throw new PermanentJobError(
      "chat_id_required",
      "chat_id: a chat of other than two people has no name of its own; give it one, the same at every import.",
    );
}
