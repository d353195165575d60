import { CREATOR, cellFormats, escapeXml, numberFormats } from "./xlsx-layout.js";

/** A sheet that has been written, and the cells with values in it. */
export interface Sheet {
  name: string;
  range: string;
}

/** What a workbook says of itself. */
export interface WorkbookProperties {
  /** The only time in the file: the same rows give the same bytes. */
  createdAt: Date;
  title?: string | undefined;
  description?: string | undefined;
}

export const DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
export const SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE = "http://schemas.openxmlformats.org/package/2006";
const MIME = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const CORE_MIME = "application/vnd.openxmlformats-package.core-properties+xml";

export const sheetPath = (number: number): string => `xl/worksheets/sheet${number}.xml`;

/** What stands beside the sheets, by its path. */
export function packageParts(
  sheets: readonly Sheet[],
  properties: WorkbookProperties,
): Record<string, string> {
  const { createdAt, title = "", description = "" } = properties;
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
