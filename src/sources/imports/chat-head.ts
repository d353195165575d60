/** Left-to-right marks and their kin: WhatsApp puts them around names, dates and what it says itself. */
const MARKS = /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]/g;
const SPACES = /[\u00a0\u2007\u2009\u202f]/g;
const MARK = "\u200e";

/** A text without invisible marks and with plain spaces: what two exports of one chat have in common. */
export const plainText = (text: string): string => text.replace(MARKS, "").replace(SPACES, " ");

/** A name as it is compared: phones differ in how they compose letters. */
export const plainName = (text: string): string => plainText(text).trim().normalize("NFC");

/** The start of a message as its line has it. Which part of the date is what is decided for the whole file. */
export interface ChatHead {
  /** iOS writes `[date, time] `, Android `date, time - `. A file keeps to one of them. */
  style: "brackets" | "dash";
  date: readonly [number, number, number];
  /** The first part has four digits. */
  yearFirst: boolean;
  /** With slashes, no locale puts a year of two digits first. */
  yearMayLead: boolean;
  hour: number;
  minute: number;
  second: number | undefined;
  /** What follows: `Name: text`, or something that WhatsApp says. */
  rest: string;
  /** WhatsApp marked the line: an attachment. */
  markedLine: boolean;
  /** WhatsApp marked the text after the name: an attachment, or something that it says itself. */
  markedText: boolean;
}

const DATE = String.raw`(\d{1,4})(?<separator>[./-])\s?(\d{1,2})\k<separator>\s?(\d{1,4})\.?`;
const WORD = String.raw`(?:(\p{L}[\p{L}.]{0,9}(?:\s\p{L}[\p{L}.]{0,4})?)\s?)?`;
const TIME = String.raw`(\d{1,2})[:.h](\d{2})(?:[:.](\d{2}))?`;
const MERIDIEM = String.raw`(?:\s?(\p{L}\.?\s?\p{L}{0,3}\.?))?`;
const HEAD = new RegExp(
  String.raw`^(\[)?${DATE}[,،]?\s+${WORD}${TIME}${MERIDIEM}(?:\](?:\s|$)|\s[-–](?:\s|$)|:\s)(.*)$`,
  "su",
);

/** Small words between date and time, or behind it, that say nothing. */
const FILLERS: ReadonlySet<string> = new Set([
  ...["klo", "kl", "um", "uhr", "at", "à", "a las", "às", "alle", "alle ore", "ore", "om", "o", "в", "h"],
]);
const BEFORE_NOON: ReadonlySet<string> = new Set(["am", "πμ", "오전", "上午", "午前", "ص", "öö", "sa"]);
const AFTER_NOON: ReadonlySet<string> = new Set(["pm", "μμ", "오후", "下午", "午後", "م", "ös", "ch"]);

/** The head of a line, or undefined for one that goes on with the message before it. */
export function readHead(line: string): ChatHead | undefined {
  const start = line.charCodeAt(0);
  // Most lines of long texts begin with a letter: no need to look at the rest of them.
  if (start < 0x80 && !(start >= 0x30 && start <= 0x39) && start !== 0x5b) return undefined;
  const match = HEAD.exec(plainText(line));
  if (!match) return undefined;
  const [, bracket, first, separator, second, third, before, hourText, minuteText, secondText, after, rest] =
    match;
  const hour = hourOf(Number(hourText), before, after);
  const [minute, seconds] = [Number(minuteText), secondText === undefined ? undefined : Number(secondText)];
  if (hour === undefined || minute > 59 || (seconds ?? 0) > 59) return undefined;
  return {
    style: bracket === undefined ? "dash" : "brackets",
    date: [Number(first), Number(second), Number(third)],
    yearFirst: first!.length === 4,
    yearMayLead: first!.length === 4 || separator !== "/",
    hour,
    minute,
    second: seconds,
    rest: rest!,
    markedLine: line.startsWith(MARK),
    markedText: isTextMarked(line),
  };
}

/** Undefined for a word that is not known: taking an unknown "in the evening" for nothing would be wrong by 12 hours. */
function hourOf(hour: number, before: string | undefined, after: string | undefined): number | undefined {
  let meridiem: "am" | "pm" | undefined;
  for (const text of [before, after]) {
    if (text === undefined) continue;
    const word = text.toLowerCase().replace(/\.$/, "");
    const letters = word.replace(/[.\s]/g, "");
    if (BEFORE_NOON.has(letters)) meridiem = "am";
    else if (AFTER_NOON.has(letters)) meridiem = "pm";
    else if (!FILLERS.has(word)) return undefined;
  }
  if (meridiem === undefined) return hour < 24 ? hour : undefined;
  if (hour > 12) return undefined;
  return (hour % 12) + (meridiem === "pm" ? 12 : 0);
}

/** Whether a mark stands right after the first `: ` behind the date. */
function isTextMarked(line: string): boolean {
  const spaced = line.replace(SPACES, " ");
  const colon = spaced.indexOf(": ", Math.max(spaced.indexOf("] "), spaced.indexOf(" - "), 0) + 1);
  return colon >= 0 && spaced[colon + 2] === MARK;
}
