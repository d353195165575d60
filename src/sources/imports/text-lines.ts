/** Longer lines are cut: WhatsApp itself takes 65,536 characters a message. */
export const MAX_LINE_LENGTH = 200_000;

export interface TextLine {
  /** 1 is the first. */
  number: number;
  text: string;
}

/** The lines of a text, ended by LF or CRLF. Memory is bounded by one piece and one line. */
export async function* textLines(pieces: AsyncIterable<string>): AsyncGenerator<TextLine> {
  let number = 0;
  let rest = "";
  const line = (text: string): TextLine => {
    number += 1;
    return { number, text: (text.endsWith("\r") ? text.slice(0, -1) : text).slice(0, MAX_LINE_LENGTH) };
  };
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf("\n"); end !== -1; end = piece.indexOf("\n", start)) {
      yield line(rest + piece.slice(start, end));
      rest = "";
      start = end + 1;
    }
    if (rest.length < MAX_LINE_LENGTH) rest += piece.slice(start);
  }
  if (rest !== "") yield line(rest);
}
