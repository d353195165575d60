import { type ChartText, drawing } from "./chart.js";
import { html, type Markup } from "./markup.js";
import type { NumberText } from "./number-text.js";

export interface HeatmapChart extends ChartText {
  /** From Monday on. */
  weekdays: readonly string[];
  /** Of each weekday 24 values. */
  values: readonly (readonly (number | null)[])[];
  text: NumberText;
}

const LEFT = 48;
const TOP = 20;
const CELL_WIDTH = 29;
const CELL_HEIGHT = 25;
const GAP = 2;

/** The hours of the week, the darker the more. */
export function heatmapChart(chart: HeatmapChart): Markup {
  const { weekdays, values, text } = chart;
  const most = Math.max(0, ...values.flat().map((value) => value ?? 0));
  const strength = (value: number) => (most > 0 ? (0.05 + (0.95 * value) / most).toFixed(2) : "0.05");
  const size = { width: LEFT + 24 * CELL_WIDTH, height: TOP + 7 * CELL_HEIGHT };
  const cell = (value: number | null, day: number, hour: number) =>
    html`<rect class="${value === null ? "cell none" : "cell"}" x="${LEFT + hour * CELL_WIDTH}" y="${TOP + day * CELL_HEIGHT}" width="${CELL_WIDTH - GAP}" height="${CELL_HEIGHT - GAP}" rx="3" fill-opacity="${value === null ? "1" : strength(value)}"><title>${weekdays[day]} ${clock(hour)}: ${value === null ? "–" : text(value)}</title></rect>`;
  return drawing(chart, size, [
    Array.from({ length: 8 }, (_, index) => 3 * index).map(
      (hour) => html`<text x="${LEFT + hour * CELL_WIDTH}" y="13">${clock(hour)}</text>`,
    ),
    weekdays.map(
      (name, day) =>
        html`<text class="end" x="${LEFT - 8}" y="${TOP + day * CELL_HEIGHT + 16}">${name}</text>`,
    ),
    values.map((row, day) => row.map((value, hour) => cell(value, day, hour))),
  ]);
}

const clock = (hour: number): string => `${String(hour).padStart(2, "0")}:00`;
