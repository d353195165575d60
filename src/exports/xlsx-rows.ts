import { type Column, type ColumnType, formattedSelect, instant } from "./columns.js";
import { columnLetters, formatNumber, MAX_SHEET_ROWS } from "./xlsx-layout.js";

const style = (type: ColumnType) => `s="${formatNumber(type)}"`;

/** Excel's bound for the text of a cell, in UTF-16 units. */
const CELL_LENGTH = 32_767;
/** Before this Excel's days are off by one: it believes in a 29 February 1900. A day to spare for the zone. */
const FIRST_DATE = "1900-03-02T00:00:00Z";
const LAST_DATE = "9999-12-31T00:00:00Z";
/** Days from Excel's first day to that of PostgreSQL's epoch seconds. */
const EPOCH_DAY = 25_569;
const DAY_SECONDS = 86_400;

/** Most values are words and ids, which hold nothing that needs care. */
const PLAIN = "^[0-9A-Za-z_.,:;+*/=@()-]*$";
const PLAIN_BYTES = 512;
/** What XML 1.0 forbids or reads as something else (CR), and DEL. */
const UNSAFE = String.raw`[\u0001-\u0008\u000b-\u001f\u007f\ufffe\uffff]`;
/** Excel reads `_x0041_` as an escaped `A`. */
const LOOKALIKE = "_(?=x[0-9A-Fa-f]{4}_)";
const ASTRAL = String.raw`[\U00010000-\U0010ffff]`;

/** Cut with `…` where it is too long, escaped as Excel does, then as XML; a line break would end the row's line. */
const escapedText = (sql: string): string => `(
  SELECT replace(replace(replace(replace(t, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), E'\\n', '&#10;')
  FROM (
    SELECT CASE WHEN t ~ '${UNSAFE}' THEN (
      SELECT string_agg(CASE WHEN c ~ '${UNSAFE}' THEN '_x' || lpad(upper(to_hex(ascii(c))), 4, '0') || '_' ELSE c END, '' ORDER BY n)
      FROM regexp_split_to_table(t, '') WITH ORDINALITY AS letters(c, n)
    ) ELSE t END AS t
    FROM (
      SELECT regexp_replace(
        CASE WHEN length(t) + regexp_count(t, '${ASTRAL}') <= ${CELL_LENGTH} THEN t ELSE (
          SELECT string_agg(c, '' ORDER BY n) || '…'
          FROM (
            SELECT c, n, sum(CASE WHEN c ~ '${ASTRAL}' THEN 2 ELSE 1 END) OVER (ORDER BY n) AS units
            FROM regexp_split_to_table(left(t, ${CELL_LENGTH}), '') WITH ORDINALITY AS letters(c, n)
          ) measured WHERE units < ${CELL_LENGTH}
        ) END,
        '${LOOKALIKE}', '_x005F_', 'g') AS t
      FROM (SELECT ${sql} AS t) whole
    ) kept
  ) escaped)`;

/** What follows the reference of a cell, `<c r="A1"`. */
const orEmpty = (sql: string, cell: string): string => `CASE WHEN ${sql} IS NULL THEN '/>' ${cell} END`;

/** Rich text is the one form in which every reader keeps blanks and undoes the escapes. */
const careful = (sql: string): string =>
  `coalesce(' t="inlineStr"><is><r><t xml:space="preserve">' || ${escapedText(sql)} || '</t></r></is></c>', '/>')`;

const textCell = (sql: string): string =>
  orEmpty(
    sql,
    `WHEN octet_length(${sql}) <= ${PLAIN_BYTES} AND ${sql} ~ '${PLAIN}' AND strpos(${sql}, '_x') = 0 ` +
      `THEN ' t="inlineStr"><is><t>' || ${sql} || '</t></is></c>' ELSE ${careful(sql)}`,
  );

/** What the clocks of the zone showed, as days since 1900: what a cell without a zone can hold. */
const timeCell = (sql: string, zone: string): string =>
  orEmpty(
    sql,
    `WHEN ${sql} >= '${FIRST_DATE}' AND ${sql} < '${LAST_DATE}' ` +
      `THEN ' ${style("timestamp")}><v>' || date_part('epoch', date_trunc('milliseconds', ${sql}) AT TIME ZONE ${zone}) / ${DAY_SECONDS} + ${EPOCH_DAY} || '</v></c>' ` +
      `ELSE ${careful(instant(sql))}`,
  );

/** A whole number that a double would round stays text, as does what is no number. */
const numberCell = (sql: string, attributes: string): string =>
  orEmpty(
    sql,
    `WHEN abs(${sql}::float8) < ${Number.MAX_SAFE_INTEGER} THEN '${attributes}><v>' || ${sql} || '</v></c>' ` +
      `ELSE ${careful(`(${sql})::text`)}`,
  );

/**
 * The COPY statement for the rows of sheets, a line of XML each: `sheetWorkbook` makes a workbook of them. Text is never a
 * formula. `timeZone` is a zone that PostgreSQL knows, `fromAndWhere` starts with FROM and is trusted SQL. Rows and cells
 * have their references, without which some readers fail.
 */
export function xlsxCopySql(
  columns: readonly Column[],
  fromAndWhere: string,
  { timeZone, maxSheetRows = MAX_SHEET_ROWS }: { timeZone: string; maxSheetRows?: number | undefined },
): string {
  const zone = `'${timeZone.replaceAll("'", "''")}'`;
  const rows = formattedSelect(
    columns.map((column, i) => ({ ...column, name: `_${i}` })),
    fromAndWhere,
    {
      text: textCell,
      json: (sql) => textCell(`(${sql})::text`),
      timestamp: (sql) => timeCell(sql, zone),
      integer: (sql) => numberCell(sql, ` ${style("integer")}`),
      number: (sql) => numberCell(sql, ""),
    },
  );
  const cells = columns.map((_, i) => `'<c r="${columnLetters(i + 1)}' || n || '"' || "_${i}"`);
  // As in NDJSON: with two control characters as quote and delimiter COPY finds nothing to escape.
  return (
    `COPY (SELECT '<row r="' || n || '">' || ${cells.join(" || ")} || '</row>' ` +
    `FROM (SELECT *, ((row_number() OVER () - 1) % ${maxSheetRows - 1} + 2)::text AS n FROM (${rows}) r) numbered) ` +
    `TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')`
  );
}
