import { once } from "node:events";
import { Readable } from "node:stream";
import type { ZipFile } from "yazl";
import type { Column } from "./columns.js";
import { type LinePage, linePages } from "./line-pages.js";
import { cellText, sheetNames } from "./xlsx-cells.js";
import {
  CREATOR,
  cellFormats,
  columnLetters,
  formatNumber,
  headerOf,
  MAX_SHEET_ROWS,
  numberFormats,
  widthOf,
} from "./xlsx-layout.js";

export interface WorkbookOptions {
  /** Of the sheet; those after it are numbered. */
  sheetName: string;
  columns: readonly Pick<Column, "name" | "type">[];
  /** The only time in the file: the same rows give the same bytes. */
  createdAt: Date;
  timeZone: string;
  /** For the properties of the document. */
  title?: string | undefined;
  description?: string | undefined;
  /** Rows a sheet may hold, header included; the rest goes to a further sheet. Excel's own limit unless a test lowers it. */
  maxSheetRows?: number | undefined;
}

/** A sheet that has been written, and the cells with values in it. */
interface Sheet {
  name: string;
  range: string;
}

const DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
const SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE = "http://schemas.openxmlformats.org/package/2006";
const MIME = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const CORE_MIME = "application/vnd.openxmlformats-package.core-properties+xml";

/** Fast, and still smaller than what exceljs writes of the same rows. */
const COMPRESSION_LEVEL = 4;

/**
 * A workbook of the lines that `xlsxCopySql` gives, as a stream of bytes in constant memory. The header is frozen, and every
 * column has its filter. The stream fails with the error of the source.
 */
export function sheetWorkbook(
  source: AsyncIterable<Buffer>,
  options: WorkbookOptions,
): { bytes: Readable; rows(): number } {
  const pages: LinePage[] = [];
  async function* bytes() {
    // Only who writes a workbook loads it.
    const { ZipFile } = await import("yazl");
    const zip = new ZipFile();
    const output = zip.outputStream as Readable;
    fill(zip, source, options, pages).catch((error: Error) => output.destroy(error));
    yield* output as AsyncIterable<Buffer>;
  }
  return {
    bytes: Readable.from(bytes(), { objectMode: false }),
    rows: () => pages.reduce((sum, page) => sum + page.lines(), 0),
  };
}

async function fill(
  zip: ZipFile,
  source: AsyncIterable<Buffer>,
  options: WorkbookOptions,
  pages: LinePage[],
): Promise<void> {
  // Times of zip have no zone: this one is the same everywhere.
  const entry = { mtime: new Date(2000, 0, 1), mode: 0o100644, forceDosTimestamp: true };
  const nameSheet = sheetNames();
  const sheets: Sheet[] = [];
  for await (const page of linePages(source, (options.maxSheetRows ?? MAX_SHEET_ROWS) - 1)) {
    pages.push(page);
    const sheet = { name: nameSheet(options.sheetName), range: "" };
    sheets.push(sheet);
    const xml = Readable.from(sheetXml(page, sheet, options, sheets.length === 1), { objectMode: false });
    zip.addReadStream(xml, `xl/worksheets/sheet${sheets.length}.xml`, {
      ...entry,
      compressionLevel: COMPRESSION_LEVEL,
    });
    await once(xml, "end");
  }
  for (const [path, text] of Object.entries(partsOf(sheets, options)))
    zip.addBuffer(Buffer.from(DECLARATION + text), path, entry);
  zip.end();
}

async function* sheetXml(page: LinePage, sheet: Sheet, options: WorkbookOptions, isFirst: boolean) {
  const headers = options.columns.map((column) => headerOf(column, options.timeZone));
  const columns = options.columns.map(
    ({ type }, i) =>
      `<col min="${i + 1}" max="${i + 1}" width="${widthOf(type, headers[i]!)}" customWidth="1" style="${formatNumber(type)}"/>`,
  );
  const cells = headers.map(
    (text, i) =>
      `<c r="${columnLetters(i + 1)}1" s="${formatNumber("header")}" t="inlineStr"><is><r><t xml:space="preserve">${escapeXml(cellText(text))}</t></r></is></c>`,
  );
  yield Buffer.from(
    `${DECLARATION}<worksheet xmlns="${SHEETS}"><sheetViews><sheetView ${isFirst ? 'tabSelected="1" ' : ""}workbookViewId="0">` +
      '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>' +
      `<cols>${columns.join("")}</cols><sheetData><row r="1">${cells.join("")}</row>\n`,
  );
  yield* page.bytes;
  sheet.range = `A1:${columnLetters(headers.length)}${page.lines() + 1}`;
  yield Buffer.from(`</sheetData><autoFilter ref="${sheet.range}"/></worksheet>`);
}

/** What stands beside the sheets, by its path. */
function partsOf(sheets: readonly Sheet[], options: WorkbookOptions): Record<string, string> {
  const { createdAt, title = "", description = "" } = options;
  const time = `xsi:type="dcterms:W3CDTF">${createdAt.toISOString()}`;
  const numbers = sheets.map((_, i) => i + 1);
  const relation = (id: string, type: string, target: string) =>
    `<Relationship Id="${id}" Type="${type}" Target="${target}"/>`;
  return {
    "xl/workbook.xml":
      `<workbook xmlns="${SHEETS}" xmlns:r="${OFFICE}"><sheets>` +
      sheets
        .map(({ name }, i) => `<sheet name="${escapeXml(name)}" sheetId="${i + 1}" r:id="s${i + 1}"/>`)
        .join("") +
      `</sheets><definedNames>${sheets.map(filterName).join("")}</definedNames></workbook>`,
    "xl/_rels/workbook.xml.rels":
      `<Relationships xmlns="${PACKAGE}/relationships">` +
      numbers.map((n) => relation(`s${n}`, `${OFFICE}/worksheet`, `worksheets/sheet${n}.xml`)).join("") +
      `${relation("styles", `${OFFICE}/styles`, "styles.xml")}</Relationships>`,
    "xl/styles.xml": stylesXml(),
    "docProps/core.xml":
      `<cp:coreProperties xmlns:cp="${PACKAGE}/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" ` +
      'xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">' +
      `<dc:title>${escapeXml(title)}</dc:title><dc:creator>${CREATOR}</dc:creator>` +
      `<dc:description>${escapeXml(description)}</dc:description><cp:lastModifiedBy>${CREATOR}</cp:lastModifiedBy>` +
      `<dcterms:created ${time}</dcterms:created><dcterms:modified ${time}</dcterms:modified></cp:coreProperties>`,
    "_rels/.rels":
      `<Relationships xmlns="${PACKAGE}/relationships">${relation("workbook", `${OFFICE}/officeDocument`, "xl/workbook.xml")}` +
      `${relation("core", `${PACKAGE}/relationships/metadata/core-properties`, "docProps/core.xml")}</Relationships>`,
    "[Content_Types].xml":
      `<Types xmlns="${PACKAGE}/content-types">` +
      '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>' +
      `<Default Extension="xml" ContentType="${MIME}.worksheet+xml"/>` +
      `<Override PartName="/xl/workbook.xml" ContentType="${MIME}.sheet.main+xml"/>` +
      `<Override PartName="/xl/styles.xml" ContentType="${MIME}.styles+xml"/>` +
      `<Override PartName="/docProps/core.xml" ContentType="${CORE_MIME}"/></Types>`,
  };
}

/** LibreOffice looks for a sheet's filter among the names. */
const filterName = ({ name, range }: Sheet, index: number): string =>
  `<definedName name="_xlnm._FilterDatabase" localSheetId="${index}" hidden="1">` +
  `'${escapeXml(name.replaceAll("'", "''"))}'!${range.replace(/[A-Z]+|\d+/g, "$$$&")}</definedName>`;

/** One cell format for each of `cellFormats`. */
function stylesXml(): string {
  const FIRST_OWN = 164;
  const custom = cellFormats.map((format) => (format === "header" ? undefined : numberFormats[format]));
  const formats = custom.flatMap((code, i) =>
    code ? [`<numFmt numFmtId="${FIRST_OWN + i}" formatCode="${escapeXml(code)}"/>`] : [],
  );
  const cells = cellFormats.map((format, i) => {
    const number = custom[i] ? FIRST_OWN + i : 0;
    const font = format === "header" ? 1 : 0;
    return `<xf numFmtId="${number}" fontId="${font}" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/>`;
  });
  const font = (bold: string) => `<font>${bold}<sz val="11"/><name val="Calibri"/><family val="2"/></font>`;
  return (
    `<styleSheet xmlns="${SHEETS}"><numFmts count="${formats.length}">${formats.join("")}</numFmts>` +
    `<fonts count="2">${font("")}${font("<b/>")}</fonts>` +
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>' +
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>' +
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>' +
    `<cellXfs count="${cells.length}">${cells.join("")}</cellXfs>` +
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
  );
}

const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
