import { Readable } from "node:stream";
import { binaryCopySql, rowBatches } from "./binary-copy.js";
import type { Column } from "./columns.js";
import { type FilePart, type PartedFormat, type Segment, type StoredPart, segmentsOf } from "./file-parts.js";
import { type RowSlice, rowPages } from "./row-pages.js";
import { sheetNames } from "./xlsx-cells.js";
import { columnLetters, MAX_SHEET_ROWS } from "./xlsx-layout.js";
import { DECLARATION, packageParts, type Sheet, sheetPath, type WorkbookProperties } from "./xlsx-package.js";
import { type RowsXml, rowsXml } from "./xlsx-rows.js";
import { contentOf, deflatedRows, sheetHead, sheetTail } from "./xlsx-sheet.js";
import { type ZipContent, zipFrame } from "./zip.js";

export interface SheetOptions {
  columns: readonly Pick<Column, "name" | "type">[];
  timeZone: string;
}

export interface WorkbookOptions extends SheetOptions, WorkbookProperties {
  /** Of the sheet; those after it are numbered. */
  sheetName: string;
  /** Rows a sheet may hold, header included; the rest goes to a further sheet. Excel's own limit unless a test lowers it. */
  maxSheetRows?: number | undefined;
}

/** What joining needs to know of a part's rows, besides how they were stored. */
export interface SheetPartDetail {
  /** Before they were deflated. */
  crc32: number;
  plain_bytes: number;
  /** Where their references say they are. */
  first_row: number | null;
}

/** Below the header. */
export const FIRST_SHEET_ROW = 2;

const capacityOf = ({ maxSheetRows = MAX_SHEET_ROWS }: WorkbookOptions) => maxSheetRows - 1;

/**
 * A workbook of the rows of `binaryCopySql`, as a stream of bytes in constant memory. The header is frozen, and every
 * column has its filter. The stream fails with the error of the source.
 */
export function sheetWorkbook(
  source: AsyncIterable<Buffer>,
  options: WorkbookOptions,
): { bytes: Readable; rows(): number } {
  let rows = 0;
  async function* bytes() {
    const xmlOf = rowsXml(options.columns, options.timeZone);
    const workbook = workbookFrame(options);
    const count = (more: number) => {
      rows += more;
    };
    for await (const page of rowPages(rowBatches(source, options.columns.length), capacityOf(options))) {
      const sheet = workbook.sheet();
      yield sheet.head;
      const piece = deflatedRows(xmlOfSlices(page.slices, xmlOf, FIRST_SHEET_ROW, count));
      let deflatedBytes = 0;
      for await (const chunk of piece.bytes as AsyncIterable<Buffer>) {
        deflatedBytes += chunk.length;
        yield chunk;
      }
      yield sheet.tail(page.rows(), [{ ...piece.plain(), bytes: deflatedBytes }]);
    }
    yield workbook.end();
  }
  return { bytes: Readable.from(bytes(), { objectMode: false }), rows: () => rows };
}

/**
 * A part of a sheet, from the rows of `binaryCopySql`. With `firstRow`, its row in the sheet, rows and cells have references;
 * where a part will stand is only known when those before it are counted, and most readers do without.
 */
export function sheetPart(
  source: AsyncIterable<Buffer>,
  { columns, timeZone, firstRow }: SheetOptions & { firstRow?: number | undefined },
): FilePart<SheetPartDetail> {
  let rows = 0;
  async function* slices(): AsyncGenerator<RowSlice> {
    for await (const batch of rowBatches(source, columns.length)) yield { batch, from: 0, to: batch.rows };
  }
  const xml = xmlOfSlices(slices(), rowsXml(columns, timeZone), firstRow, (more) => {
    rows += more;
  });
  const { bytes, plain } = deflatedRows(xml);
  return {
    bytes,
    rows: () => rows,
    detail: () => ({ crc32: plain().crc32, plain_bytes: plain().plainBytes, first_row: firstRow ?? null }),
  };
}

async function* xmlOfSlices(
  slices: AsyncIterable<RowSlice>,
  xmlOf: RowsXml,
  firstRow: number | undefined,
  count: (rows: number) => void,
): AsyncGenerator<Buffer> {
  let row = firstRow;
  for await (const { batch, from, to } of slices) {
    yield xmlOf(batch, from, to, row);
    count(to - from);
    if (row !== undefined) row += to - from;
  }
}

/**
 * The workbook of parts behind each other. A sheet takes as many whole parts as it has room for; one whose rows say that they
 * are the first has a sheet of its own.
 */
export function workbookFile(
  parts: readonly StoredPart<SheetPartDetail>[],
  options: WorkbookOptions,
): Segment[] {
  const workbook = workbookFrame(options);
  function* pieces(): Generator<Buffer | number> {
    for (const { first, last } of sheetsOf(parts, capacityOf(options))) {
      const sheet = workbook.sheet();
      yield sheet.head;
      const contents: ZipContent[] = [];
      let rows = 0;
      for (let number = first; number < last; number++) {
        const part = parts[number]!;
        const { first_row, crc32, plain_bytes } = part.detail;
        if (first_row !== null && first_row !== FIRST_SHEET_ROW + rows)
          throw new Error(`part ${number} begins at row ${first_row}, not ${FIRST_SHEET_ROW + rows}`);
        rows += part.rows;
        contents.push({ crc32, plainBytes: plain_bytes, bytes: part.bytes });
        yield number;
      }
      yield sheet.tail(rows, contents);
    }
    yield workbook.end();
  }
  return segmentsOf(pieces());
}

/** Workbooks that are built in parts, each of which is a sheet: so its rows know where they are. */
export function partedWorkbook(options: WorkbookOptions & { columns: readonly Column[] }): PartedFormat {
  return {
    copySql: (from) => binaryCopySql(options.columns, from),
    part: (source) => sheetPart(source, { ...options, firstRow: FIRST_SHEET_ROW }),
    join: (parts) => workbookFile(parts as readonly StoredPart<SheetPartDetail>[], options),
  };
}

/** Which parts [first, last) go to which sheet; without any there is one empty sheet. */
function sheetsOf(
  parts: readonly StoredPart<SheetPartDetail>[],
  capacity: number,
): { first: number; last: number }[] {
  const sheets = [{ first: 0, last: 0 }];
  let room = capacity;
  parts.forEach(({ rows, detail }, number) => {
    if (rows > capacity) throw new Error(`part ${number} has ${rows} rows, more than a sheet holds`);
    const isFirst = detail.first_row === FIRST_SHEET_ROW && number > 0;
    if (rows > room || isFirst) {
      sheets.push({ first: number, last: number });
      room = capacity;
    }
    sheets.at(-1)!.last = number + 1;
    room -= rows;
  });
  return sheets;
}

interface SheetFrame {
  head: Buffer;
  tail(rows: number, contents: readonly ZipContent[]): Buffer;
}

/** What a workbook needs around the deflated rows of its sheets. */
function workbookFrame(options: WorkbookOptions): { sheet(): SheetFrame; end(): Buffer } {
  const zip = zipFrame();
  const nameSheet = sheetNames();
  const sheets: Sheet[] = [];
  return {
    sheet() {
      const sheet = { name: nameSheet(options.sheetName), range: "" };
      sheets.push(sheet);
      const head = sheetHead(options.columns, options.timeZone, sheets.length === 1);
      return {
        head: Buffer.concat([zip.open(sheetPath(sheets.length)), head.deflated]),
        tail(rows, contents) {
          sheet.range = `A1:${columnLetters(options.columns.length)}${rows + 1}`;
          const tail = sheetTail(sheet.range);
          return Buffer.concat([tail.deflated, zip.close(contentOf([head, ...contents, tail]))]);
        },
      };
    },
    end() {
      const entries = Object.entries(packageParts(sheets, options)).map(([path, xml]) =>
        zip.entry(path, DECLARATION + xml),
      );
      return Buffer.concat([...entries, zip.end()]);
    },
  };
}
