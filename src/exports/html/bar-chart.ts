import { type ChartText, drawing, fixed, shortened } from "./chart.js";
import { html, type Markup } from "./markup.js";
import type { NumberText } from "./number-text.js";

export interface BarChart extends ChartText {
  bars: readonly { label: string; value: number | null }[];
  text: NumberText;
  /** Which of the page's colours. */
  color: number;
}

const WIDTH = 420;
const ROW = 26;
const LABEL = 146;
const LABEL_LENGTH = 21;
const VALUE = 70;

/** One bar for each value, longest where the value is largest. */
export function barChart(chart: BarChart): Markup {
  const { bars, text, color } = chart;
  const most = Math.max(0, ...bars.map(({ value }) => value ?? 0));
  const length = (value: number) => (most > 0 ? (Math.max(0, value) / most) * (WIDTH - LABEL - VALUE) : 0);
  return drawing(
    chart,
    { width: WIDTH, height: bars.length * ROW + 4 },
    bars.map(({ label, value }, index) => {
      const y = index * ROW + 4;
      const shown = value === null ? "–" : text(value);
      return html`<g><title>${label}: ${shown}</title><text class="end label" x="${LABEL - 8}" y="${y + 15}">${shortened(label, LABEL_LENGTH)}</text><rect class="bar c${color}" x="${LABEL}" y="${y + 2}" width="${fixed(length(value ?? 0))}" height="${ROW - 8}" rx="2"/><text x="${fixed(LABEL + length(value ?? 0) + 6)}" y="${y + 15}">${shown}</text></g>`;
    }),
  );
}
