import { once } from "node:events";
import { PassThrough, type Readable } from "node:stream";
import type { stream as excelStream } from "exceljs";
import type { ColumnType } from "./columns.js";
import { wallTimes } from "./wall-time.js";
import { cellWriter, sheetNames, textCell } from "./xlsx-cells.js";
import { CREATOR, headerOf, numberFormats, widthOf } from "./xlsx-layout.js";
import { headerLook, headerRow, markCells, writeLines, type XlsxLook } from "./xlsx-look.js";

export interface XlsxColumn {
  name: string;
  type: ColumnType;
  /** In characters of the default font; without it a width that suits the type. */
  width?: number;
  /** As Excel writes it; without one that suits the type. */
  numberFormat?: string;
}

export interface XlsxSheet {
  name: string;
  columns: readonly XlsxColumn[];
  /** Values in the order of `columns`. Timestamps are a Date or RFC 3339 text; null and undefined are empty cells. */
  rows: AsyncIterable<readonly unknown[]> | Iterable<readonly unknown[]>;
  /** The number format of one cell, where a column holds values of several units. */
  formatOf?: (row: readonly unknown[], column: number) => string | undefined;
  look?: XlsxLook;
}

export interface XlsxOptions {
  sheets: readonly XlsxSheet[];
  /** The only time in the file: the same input gives the same bytes. */
  createdAt: Date;
  /** Times are shown as the clocks of this zone show them, and their headers name it. UTC without it. */
  timeZone?: string | undefined;
  /** For the properties of the document. */
  title?: string;
  description?: string;
}

type WorkbookWriter = InstanceType<typeof excelStream.xlsx.WorkbookWriter>;
export type WorksheetWriter = ReturnType<WorkbookWriter["addWorksheet"]>;

interface DefinedName {
  name: string;
  ranges: string[];
  localSheetId: number;
}

/** What we need of exceljs 4.4 and archiver 5 beyond their types; `xlsx.test.ts` fails when they change. */
interface WorkbookInternals {
  _definedNames: { model: DefinedName[] };
  zip: NodeJS.EventEmitter & {
    _module: { engine: { entry(source: unknown, data: object, done: unknown): unknown } };
  };
}
interface WorksheetInternals {
  stream: { pipes: (NodeJS.EventEmitter & { _writableState: { needDrain: boolean } })[] };
}

/**
 * One workbook as a stream of bytes, in bounded memory: rows are pulled only as fast as the bytes are read. The stream
 * fails with the error of a row source; destroying it stops the pulling.
 */
export function writeXlsx(options: XlsxOptions): Readable {
  const output = new PassThrough();
  const closed = new AbortController();
  output.once("close", () => closed.abort());
  fill(output, options, closed.signal).catch((error: Error) => output.destroy(error));
  return output;
}

async function fill(output: PassThrough, options: XlsxOptions, closed: AbortSignal): Promise<void> {
  // Loaded here, so that a process that only asks for exports never pays for it.
  const { default: excel } = await import("exceljs");
  if (output.destroyed) return;
  const workbook = new excel.stream.xlsx.WorkbookWriter({
    stream: output,
    useStyles: true,
    useSharedStrings: false,
    creator: CREATOR,
    lastModifiedBy: CREATOR,
    created: options.createdAt,
    modified: options.createdAt,
  } as ConstructorParameters<typeof excel.stream.xlsx.WorkbookWriter>[0]);
  const { title = "", description = "" } = options;
  Object.assign(workbook, { title, description });
  const { zip } = workbook as unknown as WorkbookInternals;
  zip.on("error", (error: Error) => output.destroy(error));
  stampEntries(zip, options.createdAt);

  const timeZone = options.timeZone ?? "UTC";
  const layout: Layout = {
    nameSheet: sheetNames(),
    timeZone,
    wallTime: wallTimes(timeZone),
    filters: [],
  };
  for (const sheet of options.sheets) {
    await writeSheet(workbook, sheet, layout, closed);
    if (closed.aborted) return;
  }
  (workbook as unknown as WorkbookInternals)._definedNames = { model: layout.filters };
  await workbook.commit();
}

/** Every zip entry bears `date`. exceljs offers no way to say so, and its archiver would stamp the present. */
function stampEntries(zip: WorkbookInternals["zip"], date: Date): void {
  const { engine } = zip._module;
  const entry = engine.entry.bind(engine);
  engine.entry = (source, data, done) => entry(source, { ...data, date }, done);
}

interface Layout {
  nameSheet: (name: string) => string;
  timeZone: string;
  wallTime: (timeMs: number) => number;
  /** Of every page so far. */
  filters: DefinedName[];
}

async function writeSheet(
  workbook: WorkbookWriter,
  sheet: XlsxSheet,
  layout: Layout,
  closed: AbortSignal,
): Promise<void> {
  const writers = sheet.columns.map((column) => cellWriter(column.type, layout.wallTime));
  const page = addPage(workbook, sheet, layout);
  let used = headerRow(sheet.look);
  for await (const row of sheet.rows) {
    const added = page.addRow(writers.map((write, i) => write(row[i])));
    writers.forEach((_, i) => {
      const numFmt = sheet.formatOf?.(row, i);
      if (numFmt) added.getCell(i + 1).numFmt = numFmt;
    });
    added.commit();
    used++;
    await drained(page, closed);
    if (closed.aborted) return;
  }
  endPage(page, sheet, used, layout);
}

/** Every column gets its filter button: Excel looks for it in the sheet, LibreOffice among the names. */
function endPage(page: WorksheetWriter, sheet: XlsxSheet, rows: number, { filters }: Layout): void {
  const { columns } = sheet;
  const header = headerRow(sheet.look);
  page.autoFilter = { from: { row: header, column: 1 }, to: { row: rows, column: columns.length } };
  const range = `$A$${header}:$${page.getColumn(columns.length).letter}$${rows}`;
  if (sheet.look && rows > header) markCells(page, sheet.look, header + 1, rows);
  filters.push({
    name: "_xlnm._FilterDatabase",
    ranges: [`'${page.name.replaceAll("'", "''")}'!${range}`],
    localSheetId: filters.length,
  });
  page.commit();
}

/** exceljs ignores backpressure, so we wait for the stream behind the sheet ourselves; a closed output never drains. */
async function drained(page: WorksheetWriter, closed: AbortSignal): Promise<void> {
  const behind = (page as unknown as WorksheetInternals).stream.pipes[0];
  if (!behind?._writableState.needDrain) return;
  await once(behind, "drain", { signal: closed }).catch((error: unknown) => {
    if (!closed.aborted) throw error;
  });
}

function addPage(workbook: WorkbookWriter, sheet: XlsxSheet, layout: Layout): WorksheetWriter {
  const page = workbook.addWorksheet(layout.nameSheet(sheet.name), {
    views: [{ state: "frozen", ySplit: headerRow(sheet.look) }],
  });
  const headers = sheet.columns.map((column) => headerOf(column, layout.timeZone));
  page.columns = sheet.columns.map((column, i) => {
    const numFmt = column.numberFormat ?? numberFormats[column.type];
    return {
      width: column.width ?? widthOf(column.type, headers[i]!),
      ...(numFmt ? { style: { numFmt } } : {}),
    };
  });
  writeLines(page, sheet.look);
  const header = page.getRow(headerRow(sheet.look));
  header.values = headers.map(textCell);
  header.font = { bold: true };
  if (sheet.look) Object.assign(header, headerLook);
  header.commit();
  return page;
}
