import { html, type Markup } from "./markup.js";
import { style, styleHash } from "./style.js";

/** One cell: what people read, and the value itself for programs. */
export type Cell =
  | { kind: "text"; text: string }
  | { kind: "time"; text: string; time: string }
  | { kind: "number"; text: string; value: number }
  /** Nothing is known. */
  | { kind: "none"; text: string };

export interface PageTable {
  /** The section's name in other formats. */
  name: string;
  caption: string;
  head: readonly { title: string; name: string; isNumber: boolean }[];
  /** The first cells of a row name it. */
  keys: number;
  rows: readonly (readonly Cell[])[];
  /** As many as there are of it in other formats. */
  allRows: number;
}

export interface Tile {
  name: string;
  figure: string;
  change?: string | undefined;
  previous?: string | undefined;
}

export interface Panel {
  title?: string | undefined;
  chart: Markup;
  isWide: boolean;
  /** What the lines are, in their order. */
  legend?: readonly string[];
  /** What areas of a class are. */
  areas?: readonly { name: string; title: string }[];
}

export interface PageSection {
  id: string;
  title: string;
  description?: string | undefined;
  notes: readonly string[];
  tiles: readonly Tile[];
  panels: readonly Panel[];
  tables: readonly PageTable[];
}

export interface Page {
  title: string;
  description?: string | undefined;
  facts: readonly (readonly [name: string, text: string])[];
  notes: readonly string[];
  sections: readonly PageSection[];
  footer: string;
}

/** Tables with more columns than this are printed smaller. */
const DENSE_COLUMNS = 10;
/** Tables with more rows than this are folded away. */
const OPEN_ROWS = 12;

/** Nothing is loaded and nothing runs, wherever the file is opened. */
const policy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'`;

/** A page that needs nothing but itself: no script, no request, one style that its policy names by hash. */
export function renderPage(page: Page): string {
  const head = html`<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer"><meta name="robots" content="noindex"><meta name="color-scheme" content="light dark"><title>${page.title}</title><style>${{ markup: style }}</style>`;
  const body = html`<main><header><h1><bdi>${page.title}</bdi></h1>${page.description && html`<p class="soft"><bdi>${page.description}</bdi></p>`}<dl class="facts">${page.facts.map(
    ([name, text]) => html`<div><dt>${name}</dt><dd><bdi>${text}</bdi></dd></div>`,
  )}</dl></header>
${notesOf(page.notes, "card notes")}${page.sections.map(sectionOf)}<footer>${page.footer}</footer></main>`;
  return `<!doctype html>\n<html lang="en">\n<head>${head.markup}</head>\n<body>${body.markup}</body>\n</html>\n`;
}

const notesOf = (notes: readonly string[], name: string): Markup | undefined =>
  notes.length === 0
    ? undefined
    : html`<aside class="${name}" aria-label="Limits"><ul>${notes.map((note) => html`<li><bdi>${note}</bdi></li>`)}</ul></aside>`;

function sectionOf({ id, title, description, notes, tiles, panels, tables }: PageSection): Markup {
  return html`<section class="card" aria-labelledby="${id}"><h2 id="${id}"><bdi>${title}</bdi></h2>${description && html`<p class="soft"><bdi>${description}</bdi></p>`}${notes.map((note) => html`<p class="soft"><bdi>${note}</bdi></p>`)}${tiles.length > 0 ? html`<div class="tiles">${tiles.map(tileOf)}</div>` : undefined}${panels.length > 0 ? html`<div class="charts">${panels.map(panelOf)}</div>` : undefined}${tables.map((table) => tableOf(table, tiles.length === 0 && panels.length === 0))}</section>
`;
}

const tileOf = ({ name, figure, change, previous }: Tile): Markup =>
  html`<div class="tile"><div class="name"><bdi>${name}</bdi></div><div class="figure">${figure}</div>${
    previous === undefined
      ? undefined
      : html`<div class="beside">${change === undefined ? "before: " : html`<b>${change}</b> from `}${previous}</div>`
  }</div>`;

const panelOf = ({ title, chart, isWide, legend = [], areas = [] }: Panel): Markup => {
  const items = [...(legend.length > 1 ? legend.map(legendItem) : []), ...areas.map(areaItem)];
  return html`<div class="${isWide ? "panel wide" : "panel"}">${title && html`<h3><bdi>${title}</bdi></h3>`}${
    items.length > 0 ? html`<ul class="legend">${items}</ul>` : undefined
  }<div class="scroll">${chart}</div></div>`;
};

const areaItem = ({ name, title }: { name: string; title: string }): Markup =>
  html`<li><svg width="12" height="12" aria-hidden="true"><rect class="swatch ${name}" width="12" height="12" rx="2"/></svg>${title}</li>`;

const legendItem = (title: string, index: number): Markup =>
  html`<li><svg width="26" height="8" aria-hidden="true"><line class="line c${index + 1}" x1="1" x2="25" y1="4" y2="4"/></svg><bdi>${title}</bdi></li>`;

function tableOf(table: PageTable, isAlone: boolean): Markup {
  const { name, caption, head, keys, rows, allRows } = table;
  const body = html`<div class="table" tabindex="0" role="region" aria-label="${caption}"><table data-section="${name}"${head.length > DENSE_COLUMNS ? { markup: ' class="dense"' } : undefined}><caption>${caption}${
    allRows > rows.length
      ? `: the first ${rows.length} of ${allRows} rows; the other formats have all of them`
      : ""
  }</caption><thead><tr>${head.map(
    (cell) =>
      html`<th scope="col" data-name="${cell.name}"${cell.isNumber ? { markup: ' class="n"' } : undefined}><bdi>${cell.title}</bdi></th>`,
  )}</tr></thead><tbody>${rows.map(
    (row) => html`<tr>${row.map((cell, index) => cellOf(cell, index < keys))}</tr>\n`,
  )}</tbody></table></div>`;
  if (isAlone && rows.length <= OPEN_ROWS) return body;
  return html`<details><summary>${rows.length === 1 ? "The table" : `The table: ${rows.length} rows`}</summary>${body}</details>`;
}

function cellOf(cell: Cell, isKey: boolean): Markup {
  const content = contentOf(cell);
  if (isKey) return html`<th scope="row">${content}</th>`;
  return cell.kind === "text" ? html`<td>${content}</td>` : html`<td class="n">${content}</td>`;
}

function contentOf(cell: Cell): Markup {
  switch (cell.kind) {
    case "text":
      return html`<bdi>${cell.text}</bdi>`;
    case "time":
      return html`<time datetime="${cell.time}">${cell.text}</time>`;
    case "number":
      return html`<data value="${cell.value}">${cell.text}</data>`;
    case "none":
      return html`<span class="none">${cell.text}</span>`;
  }
}
