import { type ChartText, drawing, fixed, shortened } from "./chart.js";
import { html, type Markup } from "./markup.js";
import type { NumberText } from "./number-text.js";

export interface FlowChart extends ChartText {
  /** From step 1 on; `position` counts them. */
  nodes: readonly { position: number; id: string; label: string; size: number; kind: string }[];
  links: readonly { position: number; from: string; to: string; size: number }[];
  text: NumberText;
}

const COLUMN = 190;
const NODE_WIDTH = 12;
const HEIGHT = 340;
const GAP = 16;
const TOP = 26;
/** More columns than these are hardly read; the tables have them. */
const MAX_COLUMNS = 6;
/** The largest ones of a column: of the others only their tables tell. */
const MAX_NODES = 7;
const LABEL_LENGTH = 21;

interface Placed {
  x: number;
  y: number;
  height: number;
  /** How much of its height links have taken already. */
  left: number;
  entered: number;
}

/** A Sankey diagram: a column a step, a node as high as the conversations that took it, a band for each way on. */
export function flowChart(chart: FlowChart): Markup {
  const columns = columnsOf(chart);
  const scale = Math.min(
    ...columns.map(({ nodes }) => roomOf(nodes.length) / sum(nodes.map(({ size }) => size))),
  );
  const placed = new Map<string, Placed>();
  for (const [index, { position, nodes }] of columns.entries()) {
    let y = TOP;
    for (const node of nodes) {
      const height = Math.max(1, node.size * scale);
      placed.set(keyOf(position, node.id), { x: index * COLUMN, y, height, left: 0, entered: 0 });
      y += height + GAP;
    }
  }
  const links = [...chart.links].sort((a, b) => b.size - a.size);
  return drawing(chart, { width: columns.length * COLUMN, height: HEIGHT }, [
    columns.map(
      ({ position }, index) => html`<text class="strong" x="${index * COLUMN}" y="14">${position}</text>`,
    ),
    links.map((link) => bandOf(link, placed, scale, chart)),
    columns.map(({ position, nodes }) =>
      nodes.map((node) => nodeOf(node, placed.get(keyOf(position, node.id))!, chart)),
    ),
  ]);
}

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
const roomOf = (nodes: number): number => HEIGHT - TOP - (nodes - 1) * GAP - 14;
const keyOf = (position: number, id: string): string => `${position} ${id}`;

function columnsOf({ nodes }: FlowChart) {
  const positions = [...new Set(nodes.map(({ position }) => position))]
    .sort((a, b) => a - b)
    .slice(0, MAX_COLUMNS);
  return positions.map((position) => ({
    position,
    nodes: nodes
      .filter((node) => node.position === position)
      .sort((a, b) => b.size - a.size)
      .slice(0, MAX_NODES),
  }));
}

function bandOf(
  link: FlowChart["links"][number],
  placed: ReadonlyMap<string, Placed>,
  scale: number,
  { nodes, text }: FlowChart,
): Markup | undefined {
  const from = placed.get(keyOf(link.position, link.from));
  const to = placed.get(keyOf(link.position + 1, link.to));
  if (!from || !to) return undefined;
  const width = Math.max(0.5, link.size * scale);
  const [x1, x2] = [from.x + NODE_WIDTH, to.x];
  const [y1, y2] = [from.y + from.left + width / 2, to.y + to.entered + width / 2];
  from.left += width;
  to.entered += width;
  const middle = (x1 + x2) / 2;
  const labelOf = (position: number, id: string) =>
    nodes.find((node) => node.position === position && node.id === id)?.label;
  return html`<path class="band" d="M${x1} ${fixed(y1)}C${middle} ${fixed(y1)} ${middle} ${fixed(y2)} ${x2} ${fixed(y2)}" stroke-width="${fixed(width)}"><title>${labelOf(link.position, link.from)} → ${labelOf(link.position + 1, link.to)}: ${text(link.size)}</title></path>`;
}

function nodeOf(
  node: FlowChart["nodes"][number],
  { x, y, height }: Placed,
  { text }: Pick<FlowChart, "text">,
): Markup {
  return html`<g><title>${node.label}: ${text(node.size)}</title><rect class="node ${node.kind}" x="${x}" y="${fixed(y)}" width="${NODE_WIDTH}" height="${fixed(height)}" rx="2"/><text class="halo" x="${x + NODE_WIDTH + 5}" y="${fixed(y + Math.min(height / 2 + 4, 14))}">${shortened(node.label, LABEL_LENGTH)} ${text(node.size)}</text></g>`;
}
