import { type Content, html, type Markup } from "./markup.js";

/** What every chart says of itself to who cannot see it. */
export interface ChartText {
  /** Unlike any other of the page. */
  id: string;
  title: string;
  description: string;
}

/** A drawing of so many units, which shrinks with its page down to what can still be read. */
export function drawing(
  { id, title, description }: ChartText,
  { width, height }: { width: number; height: number },
  content: Content,
): Markup {
  return html`<svg class="chart" role="img" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" aria-labelledby="${id}-t ${id}-d"><title id="${id}-t">${title}</title><desc id="${id}-d">${description}</desc>${content}</svg>`;
}

/** A length in a drawing: tenths are finer than anybody sees. */
export const fixed = (length: number): string => String(Math.round(length * 10) / 10);

/** Less than this is nothing. */
const SMALLEST = 1e-9;

/** At most about `count` round values from 0 to at least `max`. */
export function ticks(max: number, count = 4): number[] {
  if (!(max > SMALLEST)) return [0, 1];
  const rough = max / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= rough * (1 - 1e-9))!;
  const steps = Math.ceil(max / step - 1e-9);
  return Array.from({ length: steps + 1 }, (_, index) => index * step);
}

/** The same for seconds, which are round in minutes, hours and days. */
export function secondTicks(max: number, count = 4): number[] {
  const round = [60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400];
  const step = max > 240 ? round.find((one) => one * count >= max) : undefined;
  if (step === undefined)
    return max > 240 ? ticks(max / 86_400, count).map((days) => days * 86_400) : ticks(max, count);
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, index) => index * step);
}

const segments = new Intl.Segmenter("en", { granularity: "grapheme" });

/** The beginning of a text that may be long, with `…` at a cut; never half a character. */
export function shortened(text: string, length: number): string {
  const characters = Array.from(segments.segment(text.slice(0, 50 * length)), ({ segment }) => segment);
  return characters.length <= length && text.length <= 50 * length
    ? text
    : `${characters.slice(0, length - 1).join("")}…`;
}
