import { type ChartText, drawing, fixed, secondTicks, ticks } from "./chart.js";
import { html, type Markup } from "./markup.js";
import type { NumberText } from "./number-text.js";

export interface Line {
  title: string;
  values: readonly (number | null)[];
}

export interface LineChart extends ChartText {
  /** What each place along the axis is called. */
  places: readonly { long: string; short: string }[];
  lines: readonly Line[];
  text: NumberText;
  isSeconds: boolean;
}

const WIDTH = 860;
const HEIGHT = 230;
const LEFT = 74;
const RIGHT = 22;
const TOP = 10;
const BOTTOM = 26;
/** So many labels fit below. */
const LABELS = 7;
/** More points than this cannot be told apart, let alone be pointed at. */
const MAX_POINTS = 100;

/** Lines over time from 0 up. What is not known is a gap, and a value between two gaps a point. */
export function lineChart(chart: LineChart): Markup {
  const { places, lines, text } = chart;
  const all = lines.flatMap(({ values }) => values.filter((value) => value !== null));
  const marks = (chart.isSeconds ? secondTicks : ticks)(Math.max(0, ...largest(all)));
  const top = marks.at(-1)!;
  const x = (index: number) =>
    places.length < 2
      ? (LEFT + WIDTH - RIGHT) / 2
      : LEFT + (index / (places.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const step = Math.ceil(places.length / LABELS);
  return drawing(chart, { width: WIDTH, height: HEIGHT }, [
    marks.map(
      (mark) =>
        html`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${fixed(y(mark))}" y2="${fixed(y(mark))}"/><text class="end" x="${LEFT - 8}" y="${fixed(y(mark) + 4)}">${text(mark)}</text>`,
    ),
    places.map(({ short }, index) =>
      index % step === 0
        ? html`<text class="middle" x="${fixed(x(index))}" y="${HEIGHT - 8}">${short}</text>`
        : undefined,
    ),
    lines.map((line, index) => [
      html`<path class="line c${index + 1}" d="${pathOf(line.values, x, y)}"/>`,
      pointsOf(line, index, chart, x, y),
    ]),
  ]);
}

/** A spread of ten thousand arguments is none too many, but of more. */
const largest = (values: readonly number[]): number[] =>
  values.length === 0 ? [] : [values.reduce((most, value) => Math.max(most, value))];

type Scale = (value: number) => number;

function pathOf(values: readonly (number | null)[], x: Scale, y: Scale): string {
  let isDown = false;
  return values
    .map((value, index) => {
      const command = value === null ? "" : `${isDown ? "L" : "M"}${fixed(x(index))} ${fixed(y(value))}`;
      isDown = value !== null;
      return command;
    })
    .join("");
}

/** To be pointed at, one by one; of many only those that no line leads to. */
function pointsOf({ title, values }: Line, index: number, { places, text }: LineChart, x: Scale, y: Scale) {
  const isAlone = (at: number) => (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null;
  return values.map((value, at) =>
    value === null || (places.length > MAX_POINTS && !isAlone(at))
      ? undefined
      : html`<circle class="point c${index + 1}" cx="${fixed(x(at))}" cy="${fixed(y(value))}" r="${places.length > 40 ? 1.8 : 2.8}"><title>${places[at]!.long}: ${title} ${text(value)}</title></circle>`,
  );
}
