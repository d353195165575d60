/** HTML that is safe to send. It is made by `html`, or is constant text of our own; all else becomes text. */
export interface Markup {
  readonly markup: string;
}

export type Content = Markup | string | number | null | undefined | readonly Content[];

/** What no HTML may hold, or reads as something else: controls but TAB and LF, and noncharacters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const UNSAFE = /[\0-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]/g;

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text for an element or a quoted attribute; what cannot be shown is U+FFFD. */
export const escapeHtml = (text: string): string =>
  text
    .toWellFormed()
    .replace(UNSAFE, "\ufffd")
    .replace(/[&<>"']/g, (character) => entities[character]!);

/** A template of HTML: every value is escaped unless it is markup itself; lists are joined, null and undefined are nothing. */
export const html = (parts: TemplateStringsArray, ...values: readonly Content[]): Markup => ({
  markup: parts.reduce((text, part, index) => text + contentText(values[index - 1]) + part),
});

function contentText(content: Content): string {
  if (content === null || content === undefined) return "";
  if (typeof content === "string") return escapeHtml(content);
  if (typeof content === "number") return String(content);
  return "markup" in content ? content.markup : content.map(contentText).join("");
}
