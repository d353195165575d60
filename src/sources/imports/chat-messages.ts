import { type ChatHead, plainName, plainText, readHead } from "./chat-head.js";
import { MAX_LINE_LENGTH, type TextLine } from "./text-lines.js";

/** A message of a chat, or a notice of WhatsApp's, which has no author. */
export interface ChatMessage {
  line: number;
  head: ChatHead;
  author: string | undefined;
  text: string;
}

const MAX_AUTHOR_LENGTH = 100;
/** `Ann changed the subject to "a: b"` is a notice; nobody is named like that. */
const QUOTES = /["“”„«»]/;

/**
 * Puts the lines of a chat together: what does not begin like a message goes on with the one before. What stands before
 * the first message is left out. `me` may hold `: `, which ends any other name.
 */
export async function* chatMessages(lines: AsyncIterable<TextLine>, me: string): AsyncGenerator<ChatMessage> {
  let style: ChatHead["style"] | undefined;
  let current: ChatMessage | undefined;
  for await (const { number, text } of lines) {
    const head = readHead(text);
    // A chat that was pasted into a message may look like messages, but of the other style.
    if (head && (style === undefined || head.style === style)) {
      if (current) yield current;
      style = head.style;
      current = { line: number, head, ...splitRest(head.rest, me) };
    } else if (current && current.text.length < MAX_LINE_LENGTH) current.text += `\n${plainText(text)}`;
  }
  if (current) yield current;
}

function splitRest(rest: string, me: string): { author: string | undefined; text: string } {
  if (rest.startsWith(`${me}:`)) return { author: me, text: rest.slice(me.length + 1).replace(/^ /, "") };
  const colon = /:(?: |$)/.exec(rest)?.index ?? -1;
  const author = colon < 0 ? "" : plainName(rest.slice(0, colon));
  if (author === "" || author.length > MAX_AUTHOR_LENGTH || QUOTES.test(author))
    return { author: undefined, text: rest };
  return { author, text: rest.slice(colon + 2) };
}
