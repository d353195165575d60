import { Readable } from "node:stream";
import { DateTime } from "luxon";
import { type PageSection, renderPage, type Tile } from "../../exports/html/page.js";
import type { RowStream } from "../write-rows.js";
import { pagePanels } from "./page-panels.js";
import { pageTable } from "./page-tables.js";
import { NOTHING, type PageText, pageText } from "./page-text.js";
import { comparedWith, leftOutNote, limitNote, type ReportFile, rowsOf } from "./report-file.js";
import type { SectionTable } from "./section-table.js";

/** One self-contained page: figures and charts to look at, and the numbers behind them in tables. */
export function writePage(file: ReportFile): RowStream {
  const { template, tables, leftOut, head } = file;
  const text = pageText(file);
  const names = [...new Set(tables.map(({ section }) => section.name))];
  const sections = names.map((name, index) =>
    sectionOf(
      tables.filter(({ section }) => section.name === name),
      `section-${index + 1}`,
      text,
    ),
  );
  const page = renderPage({
    title: template.title,
    description: template.description,
    facts: factsOf(file),
    notes: leftOut.map(leftOutNote),
    sections,
    footer:
      `Report ${head.report}, asked for at ${head.requested_at}. ` +
      "GET /analytics/metrics/catalog says what each number means.",
  });
  return {
    bytes: Readable.from([Buffer.from(page)]),
    rows: () => rowsOf(sections.flatMap((section) => section.tables)),
  };
}

function sectionOf(tables: readonly SectionTable[], id: string, text: PageText): PageSection {
  const [first] = tables;
  const isFigures = first!.keys.length === 0 || first!.kind === "comparison";
  const isEmpty = tables.every(({ rows }) => rows.length === 0);
  return {
    ...{ id, title: first!.section.title, description: first!.description },
    notes: [
      ...(first!.kind === "comparison" && !first!.comparedWith
        ? ["Nothing is kept of the period before."]
        : []),
      ...(isEmpty ? ["There is nothing to show for this period."] : []),
      ...tables.flatMap((table) => limitNote(table) ?? []),
    ],
    tiles: isFigures ? tilesOf(first!, text) : [],
    panels: pagePanels(tables, text),
    tables: tables.filter(({ rows }) => rows.length > 0).map((table) => pageTable(table, text)),
  };
}

function tilesOf({ kind, values, rows: [current, previous, change] }: SectionTable, text: PageText): Tile[] {
  return values.map((value) => {
    const number = text.number(value);
    const said = (row: typeof current, say = number) => {
      const known = row?.[value.name];
      return typeof known === "number" ? say(known) : undefined;
    };
    const compared = {
      previous: said(previous) ?? NOTHING,
      change: said(change, text.change(value)),
    };
    return {
      name: value.title,
      figure: said(current) ?? NOTHING,
      ...(kind === "comparison" ? compared : {}),
    };
  });
}

function factsOf({ head, template, request, tables }: ReportFile): [name: string, text: string][] {
  const locale = request.locale ?? template.locale;
  const compared = comparedWith(tables);
  const filters = Object.entries(head.filters).map(([name, values]): [string, string] => [
    `Only ${name}`,
    (values as (string | null)[]).map((value) => value ?? "not known").join(", "),
  ]);
  const version = head.template_version === undefined ? "" : `, version ${head.template_version}`;
  return [
    ["Account", head.account_id],
    ["Period", periodText(head, locale)],
    ...(compared
      ? [["Compared with", periodText({ ...head, ...compared }, locale)] as [string, string]]
      : []),
    ["Time zone", head.time_zone],
    ["Template", head.report + version],
    ...filters,
    ...Object.entries(head.choices ?? {}),
  ];
}

/** Whole days by their first and last; else to the minute, the end exclusive. */
function periodText({ from, to, time_zone }: ReportFile["head"], locale: string): string {
  const [start, end] = [from, to].map((time) => DateTime.fromISO(time, { zone: time_zone, locale }));
  const areDays = [start!, end!].every((time) => time.equals(time.startOf("day")));
  const last = areDays ? end!.minus({ days: 1 }) : end!;
  const format = areDays ? DateTime.DATE_MED : DateTime.DATETIME_MED;
  const [first, until] = [start!.toLocaleString(format), last.toLocaleString(format)];
  if (areDays && first === until) return first;
  return `${first} – ${until}${areDays ? "" : " (exclusive)"}`;
}
