import { Readable } from "node:stream";
import { rowBatches } from "./binary-copy.js";
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

/** What joining needs to know of a part's rows, besides how they were stored: of their XML, before it was deflated. */
export interface SheetPartDetail {
  crc32: number;
  plain_bytes: number;
}

/** Below the header. */
const FIRST_SHEET_ROW = 2;

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
      const piece = deflatedRows(xmlOfSlices(page.slices, xmlOf, count));
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

/** The rows of a sheet, from those of `binaryCopySql`. */
export function sheetPart(
  source: AsyncIterable<Buffer>,
  { columns, timeZone }: SheetOptions,
): FilePart<SheetPartDetail> {
  let rows = 0;
  async function* slices(): AsyncGenerator<RowSlice> {
    for await (const batch of rowBatches(source, columns.length)) yield { batch, from: 0, to: batch.rows };
  }
  const xml = xmlOfSlices(slices(), rowsXml(columns, timeZone), (more) => {
    rows += more;
  });
  const { bytes, plain } = deflatedRows(xml);
  return {
    bytes,
    rows: () => rows,
    detail: () => ({ crc32: plain().crc32, plain_bytes: plain().plainBytes }),
  };
}

async function* xmlOfSlices(
  slices: AsyncIterable<RowSlice>,
  xmlOf: RowsXml,
  count: (rows: number) => void,
): AsyncGenerator<Buffer> {
  let row = FIRST_SHEET_ROW;
  for await (const { batch, from, to } of slices) {
    yield xmlOf(batch, from, to, row);
    count(to - from);
    row += to - from;
  }
}

/** The workbook of parts, each of which is a sheet: so its rows know where they are. Without any there is an empty one. */
export function workbookFile(
  parts: readonly StoredPart<SheetPartDetail>[],
  options: WorkbookOptions,
): Segment[] {
  const workbook = workbookFrame(options);
  function* pieces(): Generator<Buffer | number> {
    for (const [number, { rows, bytes, detail }] of parts.entries()) {
      if (rows > capacityOf(options))
        throw new Error(`part ${number} has ${rows} rows, more than a sheet holds`);
      const sheet = workbook.sheet();
      yield sheet.head;
      yield number;
      yield sheet.tail(rows, [{ crc32: detail.crc32, plainBytes: detail.plain_bytes, bytes }]);
    }
    if (parts.length === 0) {
      const empty = workbook.sheet();
      yield empty.head;
      yield empty.tail(0, []);
    }
    yield workbook.end();
  }
  return segmentsOf(pieces());
}

/** Workbooks that are built in parts. */
export function partedWorkbook(options: WorkbookOptions & { columns: readonly Column[] }): PartedFormat {
  return {
    columns: options.columns,
    isHeavy: true,
    part: (source) => sheetPart(source, options),
    join: (parts) => workbookFile(parts as readonly StoredPart<SheetPartDetail>[], options),
  };
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
