import { barChart } from "../../exports/html/bar-chart.js";
import { flowChart } from "../../exports/html/flow-chart.js";
import { heatmapChart } from "../../exports/html/heatmap-chart.js";
import { lineChart } from "../../exports/html/line-chart.js";
import type { Panel } from "../../exports/html/page.js";
import { NOTHING, type PageText, stepText, stepWords } from "./page-text.js";
import type { SectionTable, ValueColumn } from "./section-table.js";

const BARS = 12;
const COLORS = 6;

/** The charts of a section: lines over time, bars by dimension, the hours of the week, the ways of conversations. */
export function pagePanels(tables: readonly SectionTable[], text: PageText): Panel[] {
  const [table] = tables;
  if (!table || table.rows.length === 0) return [];
  if (table.kind === "heatmap") return [heatmapPanel(table, text)];
  if (table.kind === "flow") return flowPanels(tables, text);
  const charted = table.charted.map((name) => table.values.find((value) => value.name === name)!);
  return table.interval === undefined
    ? charted.map((value, index) => barPanel(table, value, index, text))
    : linePanels(table, charted, text);
}

/** Lines of one unit share an axis. A single bucket is no line. */
function linePanels(table: SectionTable, charted: readonly ValueColumn[], text: PageText): Panel[] {
  if (table.rows.length < 2) return [];
  const { long, short } = text.bucket(table);
  const places = table.rows.map(({ bucket }) => {
    const time = new Date(bucket!);
    return { long: long(time), short: short(time) };
  });
  const units = [...new Set(charted.map(({ unit }) => unit))];
  return units.map((unit) => {
    const own = charted.filter((value) => value.unit === unit).slice(0, COLORS);
    const titles = own.map(({ title }) => title);
    const number = text.number(own[0]!);
    return {
      title: titles.length === 1 ? titles[0] : undefined,
      isWide: true,
      legend: titles,
      chart: lineChart({
        id: `chart-${table.name}-${unit}`,
        title: `${titles.join(", ")}: ${table.title}`,
        description: own.map((value) => lineText(table, value, places, number)).join(" "),
        lines: own.map(({ name, title }) => ({ title, values: table.rows.map((row) => numeric(row[name])) })),
        ...{ places, text: number, isSeconds: unit === "seconds" },
      }),
    };
  });
}

const numeric = (value: string | number | null | undefined): number | null =>
  typeof value === "number" ? value : null;

/** A line in words: where it begins, where it ends and where it is highest. */
function lineText(
  { rows }: SectionTable,
  { name, title }: ValueColumn,
  places: readonly { long: string }[],
  number: (value: number) => string,
): string {
  const values = rows.map((row) => numeric(row[name]));
  const highest = largestAt(values);
  const said = (index: number) =>
    `${values[index] === null ? NOTHING : number(values[index]!)} (${places[index]!.long})`;
  return `${title} from ${said(0)} to ${said(values.length - 1)}, highest ${said(highest)}.`;
}

/** Where the largest of them is; 0 where none is known. */
function largestAt(values: readonly (number | null)[]): number {
  let found = 0;
  for (const [index, value] of values.entries()) if ((value ?? -1) > (values[found] ?? -1)) found = index;
  return found;
}

function barPanel(table: SectionTable, value: ValueColumn, index: number, text: PageText): Panel {
  const shown = table.rows.slice(0, BARS);
  const number = text.number(value);
  const bars = shown.map((row) => ({
    label: table.keys.map((key) => text.key(table, key, row[key.name]).text).join(" · "),
    value: numeric(row[value.name]),
  }));
  const more = table.rows.length > BARS ? ` (the first ${BARS} of ${table.rows.length})` : "";
  return {
    title: value.title + more,
    isWide: false,
    chart: barChart({
      id: `chart-${table.name}-${value.name}`,
      title: `${value.title}: ${table.title}${more}`,
      description: bars
        .map((bar) => `${bar.label}: ${bar.value === null ? NOTHING : number(bar.value)}`)
        .join("; "),
      ...{ bars, text: number, color: (index % COLORS) + 1 },
    }),
  };
}

function heatmapPanel(table: SectionTable, text: PageText): Panel {
  const [value] = table.values;
  const number = text.number(value!);
  const values = text.weekdays.map((_, day) =>
    table.rows.slice(day * 24, (day + 1) * 24).map((row) => numeric(row[value!.name])),
  );
  const all = values.flat();
  const most = largestAt(all);
  const highest = all[most] ?? null;
  return {
    title: highest === null ? value!.title : `${value!.title}: the darkest is ${number(highest)}`,
    isWide: true,
    chart: heatmapChart({
      id: `chart-${table.name}`,
      title: `${value!.title} by weekday and hour`,
      description:
        highest === null
          ? "Nothing is known."
          : `Highest on ${text.weekdays[Math.floor(most / 24)]} from ${most % 24}:00: ${number(highest)}.`,
      ...{ weekdays: text.weekdays, values, text: number },
    }),
  };
}

function flowPanels([steps, links]: readonly SectionTable[], text: PageText): Panel[] {
  const [value] = steps!.values;
  const nodes = steps!.rows.map((row) => {
    const { kind, label } = stepText(String(row.step));
    return {
      position: Number(row.position),
      id: String(row.step),
      kind,
      label,
      size: Number(row.conversations),
    };
  });
  const first = nodes.filter(({ position }) => position === 1);
  return [
    {
      isWide: true,
      areas: Object.entries(stepWords).map(([name, title]) => ({ name, title })),
      chart: flowChart({
        id: `chart-${steps!.section.name}`,
        title: steps!.section.title,
        description: `Conversations begin with ${first.map(({ label, size }) => `${label} (${size})`).join(", ")}.`,
        nodes,
        links: (links?.rows ?? []).map((row) => ({
          position: Number(row.position),
          from: String(row.from),
          to: String(row.to),
          size: Number(row.conversations),
        })),
        text: text.number(value!),
      }),
    },
  ];
}
