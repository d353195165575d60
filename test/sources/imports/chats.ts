import fc from "fast-check";
import type { DateOrder } from "../../../src/sources/imports/chat-dates.js";
import { chatRows } from "../../../src/sources/imports/chat-rows.js";
import { surveyChat } from "../../../src/sources/imports/chat-survey.js";
import type { ImportRow } from "../../../src/sources/imports/import-row.js";
import { textLines } from "../../../src/sources/imports/text-lines.js";

export interface Said {
  /** Wall clock, as milliseconds of a UTC clock. */
  wall: number;
  author: string;
  text: string;
}

/** How one phone writes a chat down. */
export interface Locale {
  name: string;
  order: DateOrder;
  head: (parts: Parts) => string;
  seconds: boolean;
}

interface Parts {
  y: number;
  yy: string;
  m: number;
  mm: string;
  d: number;
  dd: string;
  h: number;
  hh: string;
  h12: number;
  pm: boolean;
  min: string;
  s: string;
}

const two = (value: number) => String(value).padStart(2, "0");

function partsOf(wall: number): Parts {
  const t = new Date(wall);
  const [y, m, d, h] = [t.getUTCFullYear(), t.getUTCMonth() + 1, t.getUTCDate(), t.getUTCHours()];
  return {
    ...{ y, yy: two(y % 100), m, mm: two(m), d, dd: two(d), h, hh: two(h) },
    ...{ h12: h % 12 || 12, pm: h >= 12, min: two(t.getUTCMinutes()), s: two(t.getUTCSeconds()) },
  };
}

const ios = (name: string, order: DateOrder, stamp: (p: Parts) => string): Locale => ({
  name: `iOS ${name}`,
  order,
  seconds: true,
  head: (p) => `[${stamp(p)}] `,
});
const android = (name: string, order: DateOrder, stamp: (p: Parts) => string): Locale => ({
  name: `Android ${name}`,
  order,
  seconds: false,
  head: (p) => `${stamp(p)} - `,
});

export const locales: readonly Locale[] = [
  ios("German", "dmy", (p) => `${p.dd}.${p.mm}.${p.yy}, ${p.hh}:${p.min}:${p.s}`),
  ios("British", "dmy", (p) => `${p.dd}/${p.mm}/${p.y}, ${p.hh}:${p.min}:${p.s}`),
  ios("American", "mdy", (p) => `${p.m}/${p.d}/${p.yy}, ${p.h12}:${p.min}:${p.s}\u202f${p.pm ? "PM" : "AM"}`),
  ios(
    "Spanish",
    "dmy",
    (p) => `${p.d}/${p.m}/${p.yy} ${p.h12}:${p.min}:${p.s}\u00a0${p.pm ? "p.\u00a0m." : "a.\u00a0m."}`,
  ),
  ios("Finnish", "dmy", (p) => `${p.d}.${p.m}.${p.y} klo ${p.h}.${p.min}.${p.s}`),
  ios("Swedish", "ymd", (p) => `${p.y}-${p.mm}-${p.dd}, ${p.hh}:${p.min}:${p.s}`),
  ios("Chinese", "ymd", (p) => `${p.y}/${p.m}/${p.d} ${p.pm ? "下午" : "上午"}${p.h12}:${p.min}:${p.s}`),
  ios("Korean", "ymd", (p) => `${p.y}. ${p.m}. ${p.d}. ${p.pm ? "오후" : "오전"} ${p.h12}:${p.min}:${p.s}`),
  ios("Dutch", "dmy", (p) => `${p.dd}-${p.mm}-${p.y} ${p.hh}:${p.min}:${p.s}`),
  android("German", "dmy", (p) => `${p.dd}.${p.mm}.${p.yy}, ${p.hh}:${p.min}`),
  android("American", "mdy", (p) => `${p.m}/${p.d}/${p.yy}, ${p.h12}:${p.min} ${p.pm ? "PM" : "AM"}`),
  android("British", "dmy", (p) => `${p.dd}/${p.mm}/${p.y}, ${p.h12}:${p.min}\u202f${p.pm ? "pm" : "am"}`),
  android("Mexican", "dmy", (p) => `${p.d}/${p.m}/${p.yy} ${p.h12}:${p.min} ${p.pm ? "p. m." : "a. m."}`),
  android("Brazilian", "dmy", (p) => `${p.dd}/${p.mm}/${p.y} ${p.hh}:${p.min}`),
  android("Hungarian", "ymd", (p) => `${p.y}. ${p.mm}. ${p.dd}. ${p.hh}:${p.min}`),
  android("Italian", "dmy", (p) => `${p.dd}/${p.mm}/${p.yy}, ${p.hh}:${p.min}`),
  android("two-digit year first", "ymd", (p) => `${p.yy}-${p.mm}-${p.dd} ${p.hh}:${p.min}`),
  android(
    "Arabic marks",
    "dmy",
    (p) => `\u200f${p.d}\u200f/${p.m}\u200f/${p.y} ${p.h12}:${p.min} ${p.pm ? "م" : "ص"}`,
  ),
];

/** The chat as this phone exports it. */
export const render = (chat: readonly Said[], { head }: Locale): string =>
  chat.map(({ wall, author, text }) => `${head(partsOf(wall))}${author}: ${text}\n`).join("");

export const nowMs = Date.UTC(2026, 5, 1);

export async function* piecesOf(text: string, size = 1_000): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
}

export interface Asked {
  me?: string;
  chatId?: string;
  order?: DateOrder;
  timeZone?: string;
  channelId?: string;
}

export async function readChat(text: string, asked: Asked = {}): Promise<ImportRow[]> {
  const options = { me: "Shop", chatId: undefined, channelId: undefined, timeZone: "UTC", ...asked };
  const survey = await surveyChat(textLines(piecesOf(text)), { ...options, order: asked.order }, nowMs);
  const rows: ImportRow[] = [];
  for await (const row of chatRows(textLines(piecesOf(text, 7)), survey, options)) rows.push(row);
  return rows;
}

export const draftsOf = (rows: readonly ImportRow[]) => rows.flatMap((row) => row.drafts);

const word = fc.stringMatching(/^[\p{L}]{1,8}$/u);
const line = fc
  .array(fc.oneof(word, fc.constantFrom("12:30", "1/2", "=1+1", "🌿", "a: b", "[x]", "-", "<b>")), {
    minLength: 1,
    maxLength: 6,
  })
  .map((words) => `x ${words.join(" ")}`);

/** A chat in the order of its times, of several months, in which equal messages of one minute are likely. */
export const chats: fc.Arbitrary<Said[]> = fc
  .array(
    fc.record({
      gap: fc.oneof(fc.integer({ min: 0, max: 90 }), fc.integer({ min: 0, max: 20 * 86_400 })),
      author: fc.constantFrom("Shop", "Ann Ünal"),
      text: fc.oneof(
        fc.constantFrom("ok", "yes"),
        fc.array(line, { minLength: 1, maxLength: 3 }).map((l) => l.join("\n")),
      ),
    }),
    { minLength: 2, maxLength: 40 },
  )
  .map((items) => {
    let wall = Date.UTC(2024, 0, 5, 23, 50);
    const said = items.map(({ gap, author, text }) => {
      wall += gap * 1000;
      return { wall, author, text };
    });
    // Both write, so that the chat is one of two people.
    said[0]!.author = "Shop";
    said[1]!.author = "Ann Ünal";
    return said;
  });
